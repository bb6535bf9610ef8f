//! ControlNet in `alwayson_scripts`, and its own addresses.

use super::{assert_refused, get, info, png, post, served_with, size, small};
use serde_json::{Value, json};

fn with(unit: Value) -> Value {
    let scripts = json!({ "ControlNet": { "args": [unit, { "enabled": false }] } });
    let model = json!({ "sd_model_checkpoint": "sd15" });
    small(
        json!({ "alwayson_scripts": scripts, "override_settings": model, "width": 64, "height": 64, "steps": 1 }),
    )
}

fn unit(more: Value) -> Value {
    let mut unit = json!({ "image": png(64, 64, 32), "model": "controlnet-sd15.safetensors [0123456789]" });
    unit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    unit
}

#[test]
fn a_unit_steers_the_image() {
    let (_folders, served) = served_with(&["sd15", "controlnet-sd15", "control-lora-sd15"]);
    let draw = |more: Value| post(&served, "/sdapi/v1/txt2img", &with(unit(more)));
    let drawn = draw(
        json!({ "weight": 0.5, "guidance_end": 0.75, "module": "canny", "pixel_perfect": true, "threshold_a": 50 }),
    );
    let text = info(&drawn)["infotexts"][0].as_str().unwrap().to_owned();
    let wanted =
        "canny: [50.0,200.0], end: 0.75, image: control.png, net: controlnet-sd15, start: 0.0, strength: 0.5";
    assert!(text.contains(wanted), "{text}");
    let usual = json!({
        "module": "none", "resize_mode": "Just Resize", "control_mode": "Balanced", "low_vram": false, "processor_res": 512, "mask": null,
        "threshold_a": 64, "threshold_b": 64, "pixel_perfect": false, "hr_option": "Both", "image": png(96, 64, 32),
    });
    assert!(!info(&draw(usual))["infotexts"][0].as_str().unwrap().contains("canny"));
    let lora = draw(json!({ "model": "control-lora-sd15" }));
    assert!(info(&lora)["infotexts"][0].as_str().unwrap().contains("net: control-lora-sd15"));
    // The image that is changed is seen where a unit has none.
    let mut body = with(unit(json!({ "image": null })));
    body["init_images"] = json!([png(64, 64, 8)]);
    post(&served, "/sdapi/v1/img2img", &body);
    for wrong in [
        json!({ "image": null }),
        json!({ "image": "http://a/b.png" }),
        json!({ "model": "sd15" }),
        json!({ "model": "None" }),
        json!({ "module": "openpose" }),
        json!({ "control_mode": 2 }),
        json!({ "mask": png(64, 64, 8) }),
        json!({ "resize_mode": 7 }),
        json!({ "weight": "strong" }),
        json!({ "module": "canny", "processor_res": 512 }),
        json!({ "module": "canny", "threshold_a": 200, "threshold_b": 100 }),
        json!({ "weight": 1e9 }),
        json!({ "guidance_start": 0.9, "guidance_end": 0.1 }),
    ] {
        assert_refused(&served.post("/sdapi/v1/txt2img", &with(unit(wrong))), "alwayson_scripts");
    }
}

#[test]
fn the_extensions_own_addresses_answer() {
    let names = ["control-lora-sd15", "controlnet-sd15", "lllite-sd15", "t2i-full-adapter-sd15"];
    let (_folders, served) = served_with(&names);
    assert_eq!(get(&served, "/controlnet/version"), json!({ "version": 2 }));
    let mut listed = get(&served, "/controlnet/model_list")["model_list"].as_array().unwrap().clone();
    listed.sort_by_key(|name| name.as_str().unwrap().to_owned());
    assert_eq!(listed, names.map(|name| json!(format!("{name}.safetensors"))));
    assert_eq!(get(&served, "/controlnet/module_list")["module_list"], json!(["none", "canny"]));
    assert_eq!(get(&served, "/controlnet/settings")["control_net_unit_count"], 8);
    let detect = |module: &str| json!({ "controlnet_module": module, "controlnet_input_images": [png(32, 64, 16)], "controlnet_processor_res": 64 });
    let found = post(&served, "/controlnet/detect", &detect("canny"));
    assert_eq!((size(&found["images"][0]), &found["info"]), ((64, 128), &json!("Success")));
    assert_eq!(size(&post(&served, "/controlnet/detect", &detect("none"))["images"][0]), (32, 64));
    assert_refused(&served.post("/controlnet/detect", &detect("openpose")), "controlnet_module");
    assert_eq!(
        get(&served, "/controlnet/control_types")["control_types"]["Canny"]["default_option"],
        "canny"
    );
    let mut wrong = detect("canny");
    wrong["controlnet_threshold_b"] = json!(1);
    assert_refused(&served.post("/controlnet/detect", &wrong), "controlnet_threshold_a");
    let nothing = json!({ "controlnet_module": "canny" });
    assert_refused(&served.post("/controlnet/detect", &nothing), "controlnet_input_images");
}
