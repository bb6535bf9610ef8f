//! Images made larger, and how they were made.

use super::{assert_refused, get, info, png, post, served, served_with, size, small};
use serde_json::{Value, json};

const SINGLE: &str = "/sdapi/v1/extra-single-image";

#[test]
fn an_image_becomes_larger() {
    let (_folders, served) = served();
    let of = |more: Value| {
        let mut body = json!({ "image": png(32, 16, 8), "upscaler_1": "Lanczos" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let larger = |more: Value| size(&post(&served, SINGLE, &of(more))["image"]);
    assert_eq!(larger(json!({})), (64, 32));
    assert_eq!(larger(json!({ "upscaling_resize": 3.0 })), (96, 48));
    let to = json!({ "resize_mode": 1, "upscaling_resize_w": 50, "upscaling_resize_h": 50 });
    assert_eq!(larger(to.clone()), (50, 50));
    let mut whole = to;
    whole["upscaling_crop"] = false.into();
    assert_eq!(larger(whole), (100, 50));
    assert_eq!(larger(json!({ "upscaler_1": "None", "upscaling_resize": 4 })), (32, 16));
    for (more, field) in [
        (json!({ "gfpgan_visibility": 1 }), "gfpgan_visibility"),
        (json!({ "codeformer_visibility": 0.5 }), "codeformer_visibility"),
        (json!({ "upscaler_1": "LDSR" }), "upscaler_1"),
        (json!({ "upscaler_2": "LDSR", "extras_upscaler_2_visibility": 1 }), "upscaler_2"),
        (json!({ "image": "http://a/b.png" }), "image"),
        (json!({ "image": "" }), "image"),
        (json!({ "upscaling_resize": 99 }), "upscaling_resize"),
        (json!({ "upscaling_resize": "wide" }), "upscaling_resize"),
    ] {
        assert_refused(&served.post(SINGLE, &of(more)), field);
    }
}

#[test]
fn the_built_in_network_enlarges() {
    let (_folders, served) = served();
    let name = "realesr-animevideov3";
    let body = json!({ "image": png(16, 8, 8), "upscaler_1": name, "upscaling_resize": 4 });
    let large = post(&served, SINGLE, &body);
    assert_eq!(size(&large["image"]), (64, 32));
    let told = post(&served, "/sdapi/v1/png-info", &json!({ "image": large["image"] }));
    let line = format!("Postprocess upscale by: 4, Postprocess upscaler: {name}");
    assert_eq!(told["items"]["postprocessing"], line);
    let hires = json!({ "enable_hr": true, "hr_upscaler": name, "hr_second_pass_steps": 1 });
    assert_eq!(size(&post(&served, "/sdapi/v1/txt2img", &small(hires))["images"][0]), (64, 64));
}

#[test]
fn several_images_become_larger() {
    let (_folders, served) = served();
    let files = [png(16, 16, 8), png(24, 8, 4)].map(|data| json!({ "data": data, "name": "a.png" }));
    let body = json!({ "imageList": files, "upscaler_1": "Lanczos" });
    let answer = post(&served, "/sdapi/v1/extra-batch-images", &body);
    let sizes: Vec<_> = answer["images"].as_array().unwrap().iter().map(size).collect();
    assert_eq!((sizes, &answer["html_info"]), (vec![(32, 32), (48, 16)], &json!("")));
}

#[test]
fn an_image_says_how_it_was_made() {
    let (_folders, served) = served();
    let drawn = post(&served, "/sdapi/v1/txt2img", &small(json!({ "negative_prompt": "blur" })));
    let read = post(&served, "/sdapi/v1/png-info", &json!({ "image": drawn["images"][0] }));
    assert_eq!(read["info"], info(&drawn)["infotexts"][0]);
    assert_eq!(
        (&read["parameters"]["Prompt"], &read["parameters"]["Seed"]),
        (&json!("a red apple"), &json!("7"))
    );
    assert_eq!(
        (&read["parameters"]["Negative prompt"], &read["parameters"]["Size-1"]),
        (&json!("blur"), &json!("32"))
    );
    assert!(read["items"]["parameters"].is_string() && read["items"]["latent"].is_string());
    let nothing = post(&served, "/sdapi/v1/png-info", &json!({ "image": png(8, 8, 4) }));
    assert_eq!(nothing, json!({ "info": "", "items": {}, "parameters": {} }));
    // A GIF of one pixel, which has no texts.
    let gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    assert_eq!(post(&served, "/sdapi/v1/png-info", &json!({ "image": gif })), nothing);
    for wrong in
        [json!({ "image": "AAAA" }), json!({ "image": null }), json!({}), json!({ "image": "http://a/b" })]
    {
        assert_refused(&served.post("/sdapi/v1/png-info", &wrong), "image");
    }
    assert_refused(&served.post("/sdapi/v1/interrogate", &json!({ "image": png(8, 8, 4) })), "model");
}

#[test]
fn an_upscalers_file_is_used_by_its_name() {
    let (_folders, served) = served_with(&["4x"]);
    let listed = get(&served, "/sdapi/v1/upscalers");
    assert_eq!((&listed[3]["name"], &listed[3]["model_path"]), (&json!("4x"), &json!("4x.safetensors")));
    assert_eq!(get(&served, "/sdapi/v1/realesrgan-models")[0]["name"], "4x");
    let body = json!({ "image": png(16, 16, 8), "upscaler_1": "4x", "upscaling_resize": 4 });
    let large = post(&served, SINGLE, &body);
    assert_eq!(size(&large["image"]), (64, 64));
    let told = post(&served, "/sdapi/v1/png-info", &large);
    assert_eq!(told["items"]["postprocessing"], "Postprocess upscale by: 4, Postprocess upscaler: 4x");
    let hires = json!({ "enable_hr": true, "hr_upscaler": "4x", "hr_second_pass_steps": 1 });
    assert_eq!(size(&post(&served, "/sdapi/v1/txt2img", &small(hires))["images"][0]), (64, 64));
    let wrong = json!({ "enable_hr": true, "hr_upscaler": "demo" });
    assert_refused(&served.post("/sdapi/v1/txt2img", &small(wrong)), "hr_upscaler");
}
