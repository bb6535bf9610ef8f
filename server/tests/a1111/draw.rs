//! `txt2img`: from the fields to the image.

use super::{assert_refused, get, info, post, served, served_with, size, small};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const TXT2IMG: &str = "/sdapi/v1/txt2img";

#[test]
fn an_answer_has_the_file_of_the_gallery_and_says_how_it_was_made() {
    let (folders, served) = served();
    let body =
        small(json!({ "negative_prompt": "blur", "sampler_name": "Euler a", "cfg_scale": 5, "unknown": 1 }));
    let answer = post(&served, TXT2IMG, &body);
    let images = answer["images"].as_array().unwrap();
    let names = folders.images();
    assert_eq!((images.len(), names.len()), (1, 1));
    let file = std::fs::read(folders.path("images").join(&names[0])).unwrap();
    assert!(STANDARD.decode(images[0].as_str().unwrap()).unwrap() == file);
    assert_eq!(answer["parameters"]["negative_prompt"], "blur");
    let info = info(&answer);
    let wanted = json!({
        "prompt": "a red apple", "all_prompts": ["a red apple"], "negative_prompt": "blur", "all_negative_prompts": ["blur"],
        "seed": 7, "all_seeds": [7], "subseed_strength": 0, "width": 32, "height": 32, "sampler_name": "Euler a",
        "cfg_scale": 5.0, "steps": 2, "batch_size": 1, "restore_faces": false, "sd_model_name": "demo",
        "index_of_first_image": 0, "styles": [], "clip_skip": 1,
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(info[name], *value, "{name}");
    }
    for name in [
        "subseed",
        "all_subseeds",
        "sd_model_hash",
        "sd_vae_name",
        "denoising_strength",
        "job_timestamp",
        "version",
    ] {
        assert!(info.get(name).is_some(), "{name}");
    }
    let text = info["infotexts"][0].as_str().unwrap();
    assert!(text.starts_with("a red apple\nNegative prompt: blur\nSteps: 2, Sampler: Euler a,"), "{text}");
}

#[test]
fn the_bytes_are_those_of_latents_own_api() {
    let (folders, served) = served();
    let own = served.submit("txt2img", crate::common::small("a red apple"));
    assert_eq!(served.ended(&own)["state"], "done");
    post(&served, TXT2IMG, &small(json!({})));
    let files = folders.images();
    let [first, second] = [0, 1].map(|i| std::fs::read(folders.path("images").join(&files[i])).unwrap());
    assert!(first == second);
}

#[test]
fn a_batch_counts_seeds_up() {
    let (_folders, served) = served();
    let answer = post(&served, TXT2IMG, &small(json!({ "batch_size": 2, "n_iter": 2, "steps": 1 })));
    let info = info(&answer);
    assert_eq!((answer["images"].as_array().unwrap().len(), &info["all_seeds"]), (4, &json!([7, 8, 9, 10])));
    assert_eq!((info["infotexts"].as_array().unwrap().len(), &info["batch_size"]), (4, &json!(2)));
}

#[test]
fn what_is_left_open_is_the_models_own_and_a_seed_of_minus_one_is_random() {
    let (_folders, served) = served();
    let body = json!({ "prompt": "a sun", "seed": -1, "steps": "1", "width": 32.0, "height": 32, "seed_resize_from_w": -1 });
    let [first, second] = [0, 1].map(|_| post(&served, TXT2IMG, &body));
    assert_ne!(info(&first)["seed"], info(&second)["seed"]);
    let parameters = &first["parameters"];
    assert_eq!((&parameters["seed"], &parameters["cfg_scale"]), (&json!(-1), &json!(7.0)));
    assert_eq!((&parameters["batch_size"], &parameters["n_iter"]), (&json!(1), &json!(1)));
    assert_eq!(parameters["sampler_name"], "DPM++ 2M");
}

#[test]
fn images_are_not_sent_where_nobody_wants_them() {
    let (folders, served) = served();
    let answer = post(&served, TXT2IMG, &small(json!({ "send_images": false, "steps": 1 })));
    assert_eq!((&answer["images"], folders.images().len()), (&json!([]), 1));
    assert_eq!(info(&answer)["infotexts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_second_pass_has_the_size_that_is_asked_for() {
    let (_folders, served) = served();
    let hires = |more: Value| {
        let mut body =
            small(json!({ "enable_hr": true, "steps": 1, "hr_second_pass_steps": 1, "hr_prompt": "" }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let wanted = json!({ "hr_scale": 2, "hr_upscaler": "Latent (nearest)", "denoising_strength": 0.9 });
    let answer = post(&served, TXT2IMG, &hires(wanted));
    assert_eq!(size(&answer["images"][0]), (64, 64));
    let answer = post(&served, TXT2IMG, &hires(json!({ "hr_resize_x": 64, "hr_upscaler": "Lanczos" })));
    assert_eq!((size(&answer["images"][0]), &info(&answer)["width"]), ((64, 64), &json!(32)));
    for (more, field) in [
        (json!({ "hr_upscaler": "LDSR" }), "hr_upscaler"),
        (json!({ "hr_prompt": "another" }), "hr_prompt"),
        (json!({ "hr_resize_x": 64, "hr_resize_y": 96 }), "hr_resize_x"),
    ] {
        assert_refused(&served.post(TXT2IMG, &hires(more)), field);
    }
}

#[test]
fn a_field_that_cannot_be_followed_is_named() {
    let (_folders, served) = served();
    for (more, field) in [
        (json!({ "restore_faces": true }), "restore_faces"),
        (json!({ "subseed_strength": 1.2 }), "subseed_strength"),
        (json!({ "subseed_strength": 0.2, "subseed": -2 }), "subseed"),
        (json!({ "styles": ["photo"] }), "styles"),
        (json!({ "script_name": "x/y plot" }), "script_name"),
        (json!({ "steps": "many" }), "steps"),
        (json!({ "steps": -1 }), "steps"),
        (json!({ "steps": 0 }), "steps"),
        (json!({ "steps": 100_000 }), "steps"),
        (json!({ "s_noise": 50 }), "s_noise"),
        (json!({ "seed": -2 }), "seed"),
        (json!({ "width": 1_000_000 }), "width"),
        (json!({ "n_iter": 100_000 }), "n_iter"),
        (json!({ "n_iter": 0 }), "n_iter"),
        (json!({ "eta": 3 }), "eta"),
        (json!({ "sampler_name": "Eulr" }), "sampler_name"),
        (json!({ "scheduler": "Carras" }), "scheduler"),
        (json!({ "refiner_checkpoint": "nothing" }), "refiner_checkpoint"),
        (json!({ "override_settings": { "sd_model_checkpoint": "nothing" } }), "sd_model_checkpoint"),
        (json!({ "override_settings": { "samples_format": "webp" } }), "samples_format"),
        (json!({ "alwayson_scripts": { "roop": { "args": ["AAAA", true] } } }), "alwayson_scripts"),
    ] {
        assert_refused(&served.post(TXT2IMG, &small(more)), field);
    }
    assert_eq!(served.post(TXT2IMG, &json!([1])).status, 422);
    assert_eq!(served.send("POST", TXT2IMG, &[], b"{").status, 422);
}

#[test]
fn an_error_of_the_drawing_itself_is_answered_too() {
    let (_folders, served) = served();
    let answer = served.post(TXT2IMG, &small(json!({ "width": 33 })));
    assert_refused(&answer, "width");
    assert!(answer.json()["detail"].as_str().unwrap().contains("33"), "{answer:?}");
}

#[test]
fn samplers_are_known_by_the_webuis_names() {
    let (_folders, served) = served();
    let cases = [
        (json!({ "sampler_name": "DPM++ 2M Karras" }), "DPM++ 2M", "Karras"),
        (json!({ "sampler_index": "euler A", "scheduler": "automatic" }), "Euler a", "Normal"),
        (json!({ "sampler_name": "k_euler", "scheduler": "Exponential" }), "Euler", "Exponential"),
    ];
    for (more, sampler, schedule) in cases {
        let answer = post(&served, TXT2IMG, &small(more));
        let info = info(&answer);
        let text = info["infotexts"][0].as_str().unwrap();
        assert!(text.contains(&format!("Sampler: {sampler}, Schedule type: {schedule},")), "{text}");
        assert_eq!(info["sampler_name"], sampler);
    }
}

#[test]
fn settings_hold_for_one_request_unless_they_are_to_be_kept() {
    let (_folders, served) = served_with(&["sd15"]);
    let overrides = json!({ "sd_model_checkpoint": "sd15.safetensors [0123456789]", "CLIP_stop_at_last_layers": 2, "randn_source": "CPU" });
    let mut body = small(json!({ "override_settings": overrides, "steps": 1, "width": 64, "height": 64 }));
    let drawn = info(&post(&served, TXT2IMG, &body));
    assert_eq!((&drawn["sd_model_name"], &drawn["clip_skip"]), (&json!("sd15"), &json!(2)));
    assert!(drawn["infotexts"][0].as_str().unwrap().contains("Clip skip: 2, RNG: CPU"));
    let title = |served| get(served, "/sdapi/v1/options")["sd_model_checkpoint"].as_str().unwrap().to_owned();
    assert!(title(&served).starts_with("demo ["));
    // Its hash is known by now, and names it.
    let hash = drawn["sd_model_hash"].as_str().unwrap();
    body["override_settings"]["sd_model_checkpoint"] = hash.into();
    body["override_settings_restore_afterwards"] = false.into();
    assert_eq!(info(&post(&served, TXT2IMG, &body))["sd_model_name"], "sd15");
    assert_eq!(title(&served), format!("sd15.safetensors [{hash}]"));
}

#[test]
fn a_subseed_and_tiling_are_followed() {
    let (_folders, served) = served();
    let plain =
        post(&served, TXT2IMG, &small(json!({ "subseed": 9, "subseed_strength": 0, "tiling": false })));
    let (first, second) = (info(&plain), plain["images"][0].clone());
    assert_eq!((&first["subseed"], &first["subseed_strength"]), (&json!(-1), &json!(0)));
    let body = small(json!({ "subseed": 9, "subseed_strength": 0.3, "batch_size": 2 }));
    let answer = post(&served, TXT2IMG, &body);
    let varied = info(&answer);
    assert_eq!((&varied["all_seeds"], &varied["all_subseeds"]), (&json!([7, 7]), &json!([9, 10])));
    assert_eq!((&varied["subseed"], &varied["subseed_strength"]), (&json!(9), &json!(0.3)));
    let text = varied["infotexts"][0].as_str().unwrap();
    assert!(text.contains("Variation seed: 9, Variation seed strength: 0.3"), "{text}");
    let tiled = post(&served, TXT2IMG, &small(json!({ "tiling": true })));
    assert!(info(&tiled)["infotexts"][0].as_str().unwrap().contains("Tiling: True"));
    assert!(answer["images"][0] != second && tiled["images"][0] != second);
    let random = post(&served, TXT2IMG, &small(json!({ "subseed": -1, "subseed_strength": 0.3 })));
    assert!(info(&random)["subseed"].as_i64().unwrap() >= 0);
}
