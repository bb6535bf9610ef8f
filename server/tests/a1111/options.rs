//! What is set for the requests that follow.

use super::{assert_refused, get, info, post, served, served_with, small};
use crate::common::Served;
use serde_json::{Value, json};

const OPTIONS: &str = "/sdapi/v1/options";

#[test]
fn a_model_that_is_set_is_drawn_with_also_after_a_restart() {
    let (folders, served) = served_with(&["sd15", "controlnet-sd15"]);
    // As Open WebUI does it: the whole object back.
    let mut all = get(&served, OPTIONS);
    assert!(all["sd_model_checkpoint"].as_str().unwrap().starts_with("demo ["));
    assert_eq!((&all["sd_vae"], &all["CLIP_stop_at_last_layers"]), (&json!("Automatic"), &json!(1)));
    all["sd_model_checkpoint"] = json!("sd15.safetensors");
    all["CLIP_stop_at_last_layers"] = json!(2);
    assert_eq!(post(&served, OPTIONS, &all), Value::Null);
    let set = get(&served, OPTIONS);
    assert_eq!(
        (&set["sd_model_checkpoint"], &set["CLIP_stop_at_last_layers"]),
        (&json!("sd15.safetensors"), &json!(2))
    );
    served.drain();
    let served = Served::start(folders.options());
    assert_eq!(get(&served, OPTIONS), set);
    let drawn = post(&served, "/sdapi/v1/txt2img", &small(json!({ "width": 64, "height": 64, "steps": 1 })));
    assert_eq!((&info(&drawn)["sd_model_name"], &info(&drawn)["clip_skip"]), (&json!("sd15"), &json!(2)));
    // The server's own model is what other APIs draw with.
    let own = served.submit("txt2img", crate::common::small("a"));
    assert_eq!(served.ended(&own)["model"], "demo");
    assert_refused(
        &served.post(OPTIONS, &json!({ "sd_model_checkpoint": "controlnet-sd15" })),
        "sd_model_checkpoint",
    );
}

#[test]
fn what_is_not_known_is_passed_over_and_what_is_not_possible_is_refused() {
    let (_folders, served) = served();
    let before = get(&served, OPTIONS);
    post(
        &served,
        OPTIONS,
        &json!({ "some_extension": { "a": 1 }, "samples_format": "PNG".to_lowercase(), "s_noise": 1 }),
    );
    for (body, field) in [
        (json!({ "sd_model_checkpoint": "nothing" }), "sd_model_checkpoint"),
        (json!({ "sd_model_checkpoint": 3 }), "sd_model_checkpoint"),
        (json!({ "sd_vae": "demo" }), "sd_vae"),
        (json!({ "CLIP_stop_at_last_layers": 99 }), "CLIP_stop_at_last_layers"),
        (json!({ "eta_noise_seed_delta": 31337 }), "eta_noise_seed_delta"),
        (json!({ "randn_source": "TPU" }), "randn_source"),
    ] {
        assert_refused(&served.post(OPTIONS, &body), field);
    }
    assert_eq!(get(&served, OPTIONS), before);
}

#[test]
fn a_vae_is_set_by_its_file_as_a_vae_or_as_a_module() {
    let (_folders, served) = served_with(&["sd15", "vae"]);
    for list in ["sd-vae", "sd-modules"] {
        assert_eq!(get(&served, &format!("/sdapi/v1/{list}"))[0]["model_name"], "vae.safetensors", "{list}");
    }
    let draw = |settings: Value| {
        let mut all = json!({ "sd_model_checkpoint": "sd15" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let body = json!({ "width": 64, "height": 64, "steps": 1, "override_settings": all });
        info(&post(&served, "/sdapi/v1/txt2img", &small(body)))["sd_vae_name"].clone()
    };
    assert_eq!(draw(json!({})), Value::Null);
    assert_eq!(
        draw(json!({ "forge_additional_modules": ["/models/VAE/vae.safetensors"] })),
        "vae.safetensors"
    );
    post(&served, OPTIONS, &json!({ "sd_vae": "vae.safetensors" }));
    assert_eq!(get(&served, OPTIONS)["sd_vae"], "vae.safetensors");
    assert_eq!(draw(json!({})), "vae.safetensors");
    assert_eq!(draw(json!({ "sd_vae": "Automatic" })), Value::Null);
    post(&served, OPTIONS, &json!({ "sd_vae": "None" }));
    assert_eq!(draw(json!({})), Value::Null);
}
