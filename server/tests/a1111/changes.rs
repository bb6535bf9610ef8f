//! `img2img`: images drawn anew, in part, or by an instruction.

use super::{assert_refused, info, png, post, served, served_with, size, small};
use serde_json::{Value, json};

const IMG2IMG: &str = "/sdapi/v1/img2img";

fn with(more: Value) -> Value {
    let mut body = small(json!({ "init_images": [png(32, 32, 16)] }));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn an_image_is_drawn_anew_in_the_size_that_is_asked_for() {
    let (_folders, served) = served();
    let body = with(
        json!({ "init_images": [format!("data:image/png;base64,{}", png(48, 24, 16))], "denoising_strength": 0.6 }),
    );
    let answer = post(&served, IMG2IMG, &body);
    assert_eq!(size(&answer["images"][0]), (32, 32));
    let told = info(&answer);
    assert_eq!(
        (&told["denoising_strength"], &answer["parameters"]["init_images"]),
        (&json!(0.6), &Value::Null)
    );
    let answer = post(&served, IMG2IMG, &with(json!({ "include_init_images": true, "resize_mode": 2 })));
    assert_eq!(answer["parameters"]["init_images"][0], png(32, 32, 16));
    assert_eq!(info(&answer)["denoising_strength"], 0.75);
}

#[test]
fn a_part_of_an_image_is_drawn_anew() {
    let (_folders, served) = served();
    // The mask is of another size than the image, and both of another than asked for.
    let whole = json!({
        "init_images": [png(48, 48, 48)], "mask": png(64, 64, 32), "inpaint_full_res": false, "inpainting_fill": 1, "mask_blur": 0,
    });
    let answer = post(&served, IMG2IMG, &with(whole.clone()));
    assert_eq!(size(&answer["images"][0]), (32, 32));
    let text = info(&answer)["infotexts"][0].as_str().unwrap().to_owned();
    assert!(text.contains("Denoising strength: 0.75, Mask blur: 0, Masked content: original"), "{text}");
    let mut inverted = with(whole);
    inverted["inpainting_mask_invert"] = 1.into();
    let [left, right] = [answer, post(&served, IMG2IMG, &inverted)].map(|answer| pixels(&answer));
    // What is kept is white, in each the other half.
    assert!(left[31] == 255 && right[0] == 255 && left[0] != 255 && right[31] != 255, "{left:?} {right:?}");
    let part =
        json!({ "init_images": [png(96, 96, 96)], "mask": png(96, 96, 16), "inpaint_full_res_padding": 8 });
    let answer = post(&served, IMG2IMG, &with(part));
    assert_eq!(size(&answer["images"][0]), (96, 96));
    let text = info(&answer)["infotexts"][0].as_str().unwrap().to_owned();
    assert!(text.contains("Masked content: nearest, Inpaint area: true"), "{text}");
}

/// The red values of the first row.
fn pixels(answer: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(answer["images"][0].as_str().unwrap()).unwrap();
    let image = latent_app::image_file::decode_bytes("image", &bytes).unwrap().image;
    image.rgb.chunks_exact(3).take(image.width).map(|pixel| pixel[0]).collect()
}

#[test]
fn a_model_for_instructions_follows_the_image_as_closely_as_asked() {
    let (_folders, served) = served_with(&["sd15-pix2pix"]);
    let model = json!({ "sd_model_checkpoint": "sd15-pix2pix" });
    let body =
        json!({ "override_settings": model, "image_cfg_scale": 1.25, "width": 64, "height": 64, "steps": 1 });
    let text =
        info(&post(&served, IMG2IMG, &with(body.clone())))["infotexts"][0].as_str().unwrap().to_owned();
    assert!(text.contains("Image CFG scale: 1.25"), "{text}");
    let mut other = with(body);
    other["denoising_strength"] = 0.5.into();
    assert_refused(&served.post(IMG2IMG, &other), "denoising_strength");
}

#[test]
fn a_model_for_inpainting_says_so() {
    let (_folders, served) = served_with(&["sd15-inpaint"]);
    let model = json!({ "sd_model_checkpoint": "sd15-inpaint" });
    let mask = png(64, 64, 32);
    let body = json!({ "override_settings": model, "mask": mask, "init_images": [mask], "width": 64, "height": 64, "steps": 1 });
    let drawn = info(&post(&served, IMG2IMG, &with(body)));
    assert_eq!(
        (&drawn["is_using_inpainting_conditioning"], &drawn["sd_model_name"]),
        (&json!(true), &json!("sd15-inpaint"))
    );
}

#[test]
fn what_is_wrong_with_an_image_is_said() {
    let (_folders, served) = served();
    for (more, field) in [
        (json!({ "init_images": [] }), "init_images"),
        (json!({ "init_images": null }), "init_images"),
        (json!({ "init_images": [png(8, 8, 4), png(8, 8, 4)] }), "init_images"),
        (json!({ "init_images": ["http://127.0.0.1/a.png"] }), "init_images"),
        (json!({ "init_images": ["data:image/png;base64,%%%%"] }), "init_images"),
        (json!({ "init_images": ["AAAA"] }), "init_images"),
        (json!({ "denoising_strength": 7 }), "denoising_strength"),
        (json!({ "mask": "https://example.org/a.png" }), "mask"),
        (json!({ "mask": "AAAA" }), "mask"),
        (json!({ "mask": png(32, 32, 8), "inpainting_fill": 4 }), "inpainting_fill"),
        (json!({ "mask": png(32, 32, 8), "mask_blur_x": 1, "mask_blur_y": 2 }), "mask_blur_x"),
        (json!({ "resize_mode": 3 }), "resize_mode"),
        (json!({ "denoising_strength": "some" }), "denoising_strength"),
    ] {
        assert_refused(&served.post(IMG2IMG, &with(more)), field);
    }
}
