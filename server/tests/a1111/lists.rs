//! What there is.

use super::{get, post, served, served_with};
use crate::common::{Folders, Served};
use serde_json::{Value, json};

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap()).collect()
}

#[test]
fn every_list_has_the_webuis_form() {
    let (folders, served) = served_with(&["sd15", "lora-sd15-kohya", "ti-sd15", "controlnet-sd15"]);
    let list = |name: &str| get(&served, &format!("/sdapi/v1/{name}"));
    let models = list("sd-models");
    assert_eq!(names(&models, "model_name"), ["demo", "sd15"]);
    assert_eq!((&models[1]["title"], &models[1]["hash"]), (&json!("sd15.safetensors"), &Value::Null));
    let hash = models[0]["hash"].as_str().unwrap();
    assert_eq!((hash.len(), &models[0]["title"]), (10, &json!(format!("demo [{hash}]"))));
    assert!(models[0]["sha256"].as_str().unwrap().starts_with(hash) && models[0].get("config").is_some());
    assert!(names(&list("samplers"), "name").contains(&"Euler a"));
    assert!(list("samplers")[0]["aliases"].is_array() && list("samplers")[0]["options"].is_object());
    let schedulers = list("schedulers");
    assert_eq!(
        (names(&schedulers, "name")[0], names(&schedulers, "label").contains(&"Karras")),
        ("automatic", true)
    );
    assert_eq!(names(&list("upscalers"), "name"), ["None", "Lanczos", "realesr-animevideov3"]);
    assert_eq!(names(&list("latent-upscale-modes"), "name"), ["Latent", "Latent (nearest)"]);
    let loras = list("loras");
    assert_eq!((names(&loras, "name"), loras[0]["metadata"].is_object()), (vec!["lora-sd15-kohya"], true));
    assert_eq!(loras[0]["path"], "lora-sd15-kohya.safetensors");
    let embeddings = list("embeddings");
    assert!(embeddings["loaded"]["ti-sd15"]["vectors"].as_u64() > Some(0), "{embeddings}");
    assert_eq!(embeddings["skipped"], json!({}));
    for empty in [
        "sd-vae",
        "sd-modules",
        "hypernetworks",
        "face-restorers",
        "realesrgan-models",
        "prompt-styles",
        "extensions",
    ] {
        assert_eq!(list(empty), json!([]), "{empty}");
    }
    assert_eq!(list("scripts"), json!({ "txt2img": ["controlnet"], "img2img": ["controlnet"] }));
    assert_eq!(list("script-info")[0]["is_alwayson"], true);
    assert_eq!(list("cmd-flags")["api"], true);
    assert!(list("memory")["ram"].is_object() && list("memory")["cuda"].is_object());
    // Where files are is nobody's business.
    let folder = folders.path("").display().to_string();
    for name in ["sd-models", "loras", "embeddings", "options", "cmd-flags", "memory", "upscalers"] {
        assert!(!list(name).to_string().contains(&folder), "{name}");
    }
}

#[test]
fn a_new_file_is_there_after_a_refresh() {
    let (folders, served) = served();
    assert_eq!(get(&served, "/sdapi/v1/loras"), json!([]));
    let file = folders.path("models").join("new.safetensors");
    std::fs::write(file, super::synthetic("lora-sd15-kohya")).unwrap();
    assert_eq!(post(&served, "/sdapi/v1/refresh-loras", &json!({})), Value::Null);
    assert_eq!(names(&get(&served, "/sdapi/v1/loras"), "name"), ["new"]);
    for name in ["refresh-checkpoints", "refresh-vae", "refresh-embeddings", "reload-checkpoint"] {
        post(&served, &format!("/sdapi/v1/{name}"), &json!({}));
    }
}

#[test]
fn models_leave_memory_when_somebody_asks() {
    let (_folders, served) = served();
    post(&served, "/sdapi/v1/txt2img", &super::small(json!({ "steps": 1 })));
    let is_loaded = || get(&served, "/api/v1/models")["models"][0]["loaded"].as_bool().unwrap();
    // The device notes it after the job has ended.
    while !is_loaded() {
        std::thread::yield_now();
    }
    post(&served, "/sdapi/v1/unload-checkpoint", &json!({}));
    while is_loaded() {
        std::thread::yield_now();
    }
    post(&served, "/sdapi/v1/txt2img", &super::small(json!({ "steps": 1 })));
}

#[test]
fn the_key_is_the_password_of_any_user() {
    use base64::Engine as _;
    let folders = Folders::new();
    let mut options = folders.options();
    options.api_key = Some("secret".to_owned());
    let served = Served::start(options);
    let basic = |user: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user));
    let ask =
        |key: &str| served.send("GET", "/sdapi/v1/options", &[("authorization", &basic(key))], b"").status;
    assert_eq!((ask("somebody:secret"), ask("somebody:other")), (200, 401));
    assert_eq!(served.get("/sdapi/v1/sd-models").status, 401);
}

#[test]
fn the_server_cannot_be_ended_by_a_client() {
    let (_folders, served) = served();
    for name in ["server-kill", "server-restart", "server-stop"] {
        assert_eq!(served.post(&format!("/sdapi/v1/{name}"), &json!({})).status, 404, "{name}");
    }
}

#[test]
fn the_description_has_the_addresses() {
    let (_folders, served) = served();
    let described = get(&served, "/openapi.json");
    for address in ["/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/progress", "/controlnet/detect"] {
        assert!(described["paths"][address].is_object(), "{address}");
    }
    assert!(described["components"]["schemas"]["WebuiRequest"]["properties"]["steps"].is_object());
}
