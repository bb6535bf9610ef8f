//! What other programs write.

use super::{WEBUI, check, chunk, jpeg, metadata_of, packed, png, segment, text, webp};
use crate::metadata::{MetadataKey, exif, summary};
use serde_json::json;

#[test]
fn the_webui_s_text_wherever_it_stands() {
    let want = [
        (MetadataKey::Prompt, "a cat"),
        (MetadataKey::Negative, "dog"),
        (MetadataKey::Seed, "5"),
        (MetadataKey::Height, "768"),
    ];
    let block = exif::write(WEBUI, None);
    let with_mark = [b"Exif\0\0", block.as_slice()].concat();
    let compressed = [b"parameters\0\0", packed(WEBUI.as_bytes()).as_slice()].concat();
    let international = [b"parameters\0\0\0en\0\0", WEBUI.as_bytes()].concat();
    let both = [b"parameters\0\x01\0\0\0", packed(WEBUI.as_bytes()).as_slice()].concat();
    for file in [
        png(&[text("parameters", WEBUI)]),
        png(&[chunk(b"zTXt", &compressed)]),
        png(&[chunk(b"iTXt", &international)]),
        png(&[chunk(b"iTXt", &both)]),
        png(&[chunk(b"IDAT", &[0; 99]), text("parameters", WEBUI)]),
        png(&[chunk(b"eXIf", &block)]),
        jpeg(&[segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"), segment(0xe1, &with_mark)]),
        webp(&[(b"VP8L", &[0; 7]), (b"EXIF", &block)]),
        webp(&[(b"VP8X", &[0; 10]), (b"EXIF", &with_mark), (b"XMP ", b"<x/>")]),
    ] {
        check(&metadata_of(file), "Forge f2.0.1", &want);
    }
}

#[test]
fn comfy_ui_with_what_json_has_not() {
    let graph = r#"{"1": {"class_type": "KSampler", "inputs": {"seed": 3, "steps": 9, "cfg": 8.0, "sampler_name": "uni_pc",
        "scheduler": "simple", "denoise": 0.5, "positive": ["2", 0]}, "is_changed": [NaN]},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "NaN is no number \"NaN\""}}}"#;
    let want = [
        (MetadataKey::Seed, "3"),
        (MetadataKey::Sampler, "uni_pc"),
        (MetadataKey::Prompt, "NaN is no number \"NaN\""),
        (MetadataKey::Strength, "0.5"),
    ];
    check(&metadata_of(png(&[text("prompt", graph), text("workflow", "{}")])), "ComfyUI", &want);
    // As savers of WebP write it: into the camera's name.
    let mut block = b"II\x2a\0\x08\0\0\0\x01\0\x10\x01\x02\0".to_vec();
    let value = format!("prompt:{graph}\0");
    block.extend((value.len() as u32).to_le_bytes());
    block.extend(26u32.to_le_bytes());
    block.extend([0; 4]);
    block.extend(value.as_bytes());
    check(&metadata_of(webp(&[(b"EXIF", &block)])), "ComfyUI", &want);
}

#[test]
fn invoke_ai_in_its_three_forms() {
    let new = json!({
        "app_version": "4.2.1", "generation_mode": "txt2img", "positive_prompt": "a cat", "negative_prompt": "dog",
        "width": 512, "height": 768, "seed": 7, "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k",
        "model": { "name": "Dream", "hash": "blake3:00", "base": "sd-1" }
    });
    let new_metadata = metadata_of(png(&[text("invokeai_metadata", &new.to_string())]));
    let want = [
        (MetadataKey::Prompt, "a cat"),
        (MetadataKey::Negative, "dog"),
        (MetadataKey::Sampler, "dpmpp_2m_k"),
        (MetadataKey::Model, "Dream"),
    ];
    check(&new_metadata, "InvokeAI 4.2.1", &want);
    let old = json!({
        "model": "stable diffusion", "model_weights": "sd-1.5", "model_hash": "cc6cb271", "app_version": "invoke-ai 2.3",
        "image": { "prompt": [{ "prompt": "a cat [dog, bird]", "weight": 1.0 }], "steps": 50, "cfg_scale": 7.5,
            "sampler": "k_lms", "height": 512, "width": 640, "seed": 11 }
    });
    let want = [
        (MetadataKey::Prompt, "a cat"),
        (MetadataKey::Negative, "dog, bird"),
        (MetadataKey::Seed, "11"),
        (MetadataKey::ModelHash, "cc6cb271"),
    ];
    check(&metadata_of(png(&[text("sd-metadata", &old.to_string())])), "InvokeAI invoke-ai 2.3", &want);
    let dream = "\"a \"big\" cat [dog]\" -s 50 -S 11 -W 640 -H 512 -C 7.5 -A k_euler_a -f0.4";
    let want = [
        (MetadataKey::Prompt, "a \"big\" cat"),
        (MetadataKey::Negative, "dog"),
        (MetadataKey::Steps, "50"),
        (MetadataKey::Seed, "11"),
        (MetadataKey::Width, "640"),
        (MetadataKey::Sampler, "k_euler_a"),
        (MetadataKey::Strength, "0.4"),
    ];
    check(&metadata_of(png(&[text("Dream", dream)])), "InvokeAI", &want);
}

#[test]
fn novel_ai() {
    let comment =
        json!({ "steps": 28, "sampler": "k_euler", "seed": 99, "scale": 11.0, "uc": "lowres", "noise": 0.2 });
    let file = png(&[
        text("Software", "NovelAI"),
        text("Description", "a cat "),
        text("Source", "Stable Diffusion 1D44365E"),
        text("Comment", &comment.to_string()),
    ]);
    let want = [
        (MetadataKey::Prompt, "a cat"),
        (MetadataKey::Negative, "lowres"),
        (MetadataKey::Model, "Stable Diffusion"),
        (MetadataKey::CfgScale, "11.0"),
    ];
    check(&metadata_of(file), "NovelAI", &want);
}

#[test]
fn fooocus_new_and_old() {
    let new = json!({
        "base_model": "juggernaut", "base_model_hash": "aeb7e9e689", "prompt": "a cat", "negative_prompt": "", "seed": "5",
        "steps": 30, "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "guidance_scale": 4.0,
        "resolution": "(896, 1152)", "metadata_scheme": "fooocus", "version": "Fooocus v2.5.5", "loras": [["x", 0.1]]
    });
    let want = [
        (MetadataKey::Width, "896"),
        (MetadataKey::Height, "1152"),
        (MetadataKey::CfgScale, "4.0"),
        (MetadataKey::ModelHash, "aeb7e9e689"),
    ];
    let new = new.to_string();
    check(
        &metadata_of(png(&[text("parameters", &new), text("fooocus_scheme", "fooocus")])),
        "Fooocus v2.5.5",
        &want,
    );
    let in_exif = metadata_of(webp(&[(b"EXIF", &exif::write(&new, None))]));
    check(&in_exif, "Fooocus v2.5.5", &want);
    assert_eq!(in_exif.get(MetadataKey::Negative), None);
    let old = json!({ "prompt": "a cat", "negative_prompt": "dog", "sampler": "euler", "seed": 5, "cfg": 7, "steps": 30,
        "width": 896, "height": 1152, "base_model": "x.safetensors" });
    let want = [
        (MetadataKey::Seed, "5"),
        (MetadataKey::CfgScale, "7"),
        (MetadataKey::Width, "896"),
        (MetadataKey::Model, "x.safetensors"),
    ];
    check(&metadata_of(jpeg(&[segment(0xfe, old.to_string().as_bytes())])), "Fooocus", &want);
}

#[test]
fn draw_things() {
    let comment = "{&quot;c&quot;:&quot;a cat &amp; a &#x201c;hat&#8221; &x &quot;,&quot;uc&quot;:&quot;dog&quot;,&quot;seed&quot;:4,\
                   &quot;steps&quot;:25,&quot;scale&quot;:7,&quot;sampler&quot;:&quot;DPM++ 2M Karras&quot;,&quot;size&quot;:&quot;\
                   512x640&quot;,&quot;model&quot;:&quot;sd_v1.5_f16.ckpt&quot;}";
    let xmp = format!(
        "<x:xmpmeta><rdf:RDF><rdf:Description><exif:UserComment> <rdf:Alt> <rdf:li xml:lang=\"x-default\">{comment}</rdf:li> \
         </rdf:Alt> </exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
    );
    let international = [b"XML:com.adobe.xmp\0\0\0\0\0", xmp.as_bytes()].concat();
    let want = [
        (MetadataKey::Prompt, "a cat & a “hat” &x"),
        (MetadataKey::Height, "640"),
        (MetadataKey::Model, "sd_v1.5_f16.ckpt"),
    ];
    check(&metadata_of(png(&[chunk(b"iTXt", &international)])), "Draw Things", &want);
}

#[test]
fn easy_diffusion_and_swarm_ui() {
    let file = png(&[
        text("prompt", "a cat"),
        text("negative_prompt", "dog"),
        text("seed", "5"),
        text("use_stable_diffusion_model", "sd"),
        text("num_inference_steps", "25"),
        text("guidance_scale", "7.5"),
        text("width", "512"),
        text("height", "640"),
    ]);
    let want = [
        (MetadataKey::Prompt, "a cat"),
        (MetadataKey::Steps, "25"),
        (MetadataKey::Model, "sd"),
        (MetadataKey::Width, "512"),
    ];
    check(&metadata_of(file), "Easy Diffusion", &want);
    let object = json!({ "Prompt": "a cat", "Negative Prompt": "dog", "Steps": 25, "Stable Diffusion model": "sd", "Width": 512 });
    check(&metadata_of(webp(&[(b"EXIF", &exif::write(&object.to_string(), None))])), "Easy Diffusion", &want);
    let swarm = json!({ "sui_image_params": { "prompt": "a cat", "negativeprompt": "dog", "steps": 25, "model": "sd",
        "width": 512, "cfgscale": 7.0, "swarm_version": "0.9.3" } });
    check(&metadata_of(png(&[text("parameters", &swarm.to_string())])), "SwarmUI 0.9.3", &want);
}

#[test]
fn what_is_printed_cannot_steer_a_terminal() {
    let metadata = metadata_of(png(&[text(
        "parameters",
        "\u{1b}[2Ja\nSeed: 1\u{7}\nSteps: 1, Seed: 9\u{1b}]0;x\u{7}, \u{1b}b: c",
    )]));
    let shown = summary(&metadata);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    // A line of a prompt is none of the settings.
    assert!(shown.contains("\\u{1b}[2Ja\n  Seed: 1"), "{shown:?}");
}

#[test]
fn long_values_are_cut_on_the_screen_and_not_in_json() {
    let long = "x".repeat(5000);
    let metadata = metadata_of(png(&[text("parameters", &format!("a\nSteps: 1, Odd: {long}, Odd: two"))]));
    assert!(summary(&metadata).lines().all(|line| line.chars().count() < 500));
    assert_eq!(metadata.json()["others"]["Odd"], json!([long, "two"]));
    assert_eq!(metadata.json()["settings"]["steps"], 1);
}
