//! Models: the list, and headers that clients send.

use crate::common::{Folders, Served, small};
use serde_json::json;

fn demo() -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors"))
        .unwrap()
}

#[test]
fn a_file_is_known_by_its_header_alone() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let bytes = demo();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let path = format!("/api/v1/inspect?name=demo.safetensors&bytes={}", bytes.len());
    let answer = served.send("POST", &path, &[], &bytes[..header]);
    let report = answer.json();
    assert_eq!((answer.status, &report["kind"], &report["draws"]), (200, &json!("model"), &json!(true)));
    assert_eq!((&report["file"], &report["bytes"]), (&json!("demo.safetensors"), &json!(bytes.len())));
    assert_eq!(report["verbs"][0], "txt2img");
    assert!(
        report["tensor_list"].as_array().unwrap().len() > 100
            && !report["advice"].as_array().unwrap().is_empty()
    );
    let by_name = served.get("/api/v1/models/demo/inspect").json();
    assert_eq!(
        (&by_name["tensor_list"], &by_name["memory_estimate"]),
        (&report["tensor_list"], &report["memory_estimate"])
    );
    for bad in [&bytes[..header - 1], b"", b"12345678", &[0xff; 64]] {
        let answer = served.send("POST", &path, &[], bad);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_input"), "{answer:?}");
    }
    let short = format!("/api/v1/inspect?bytes={header}");
    assert_eq!(served.send("POST", &short, &[], &bytes[..header]).status, 400);
}

#[test]
fn models_are_named_listed_and_drawn_with() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut events = served.open("/api/v1/events");
    std::fs::create_dir(folders.path("models").join("sub")).unwrap();
    std::fs::write(folders.path("models").join("sub").join("tiny.safetensors"), demo()).unwrap();
    std::fs::write(folders.path("models").join("broken.safetensors"), b"no").unwrap();
    // It is noticed.
    until_models_change(&mut events);
    // The folder that was made and what is in it may be noticed one after the other.
    let list = loop {
        let list = served.get("/api/v1/models").json();
        if list["models"].as_array().unwrap().len() == 3 {
            break list;
        }
    };
    let [demo, tiny, broken] = &list["models"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&demo["name"], &demo["built_in"]), (&json!("demo"), &json!(true)));
    assert_eq!((&tiny["name"], &tiny["path_in_folder"]), (&json!("tiny"), &json!("sub/tiny.safetensors")));
    assert_eq!((&tiny["defaults"]["width"], &tiny["verbs"][0]), (&json!(64), &json!("txt2img")));
    assert!(
        broken["problem"].is_string() && !broken["problem"].as_str().unwrap().contains("models"),
        "{broken}"
    );
    for name in ["tiny", "TINY", "tiny.safetensors", "sub/tiny.safetensors"] {
        let mut options = small("a sun");
        options["model"] = name.into();
        let ended = served.ended(&served.submit("txt2img", options));
        assert_eq!((&ended["state"], &ended["model"]), (&json!("done"), &json!("tiny")), "{ended}");
    }
    let loaded = served.get("/api/v1/models").json();
    assert_eq!(loaded["models"][1]["loaded"], true);
    for name in ["../models/sub/tiny.safetensors", "/etc/passwd", "sub/../sub/tiny.safetensors", "tin"] {
        let body = json!({ "verb": "txt2img", "options": { "prompt": "a", "model": name } });
        assert_eq!(served.post("/api/v1/jobs", &body).status, 400, "{name}");
    }
}

/// Reads until the server says that model files came or went.
fn until_models_change(events: &mut impl std::io::BufRead) {
    let mut line = String::new();
    while !line.starts_with("event: models") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0);
    }
}

#[test]
fn a_model_folder_that_is_made_later_is_watched() {
    let folders = Folders::new();
    let mut options = folders.options();
    let folder = folders.path("later").join("on").join("models");
    options.models_dir = Some(folder.clone());
    let served = Served::start(options);
    let mut events = served.open("/api/v1/events");
    let names = || {
        let list = served.get("/api/v1/models").json();
        let names = list["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap());
        names.filter(|name| *name != "demo").map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(), [""; 0]);
    std::fs::create_dir_all(&folder).unwrap();
    until_models_change(&mut events);
    std::fs::write(folder.join("one.safetensors"), b"no").unwrap();
    until_models_change(&mut events);
    assert_eq!(names(), ["one"]);
    // It may go and come again.
    std::fs::remove_dir_all(folders.path("later")).unwrap();
    while !names().is_empty() {
        until_models_change(&mut events);
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("two.safetensors"), b"no").unwrap();
    while names() != ["two"] {
        until_models_change(&mut events);
    }
}

#[test]
fn prompts_are_counted_and_the_server_describes_itself() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let tokens = served.post("/api/v1/tokens", &json!({ "prompt": "a (red:1.2) apple" })).json();
    assert_eq!((&tokens["tokens"], &tokens["chunks"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&tokens["pieces"][1]["text"], &tokens["pieces"][1]["weight"]),
        (&json!("red "), &json!(1.2f32))
    );
    let info = served.get("/api/v1/info").json();
    assert_eq!((&info["default_model"]["name"], &info["devices"][0]["id"]), (&json!("demo"), &json!("cpu")));
    assert!(
        info["samplers"].as_array().unwrap().len() > 10 && info["options"].as_array().unwrap().len() > 40
    );
    let openapi = served.get("/openapi.json").json();
    assert!(openapi["paths"]["/api/v1/jobs"]["post"].is_object());
    let metrics = served.get("/metrics");
    let text = String::from_utf8(metrics.bytes).unwrap();
    assert!(text.contains("latent_jobs{state=\"queued\"} 0\n") && text.contains("latent_jobs_ended_total"));
}

#[test]
fn images_are_counted() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let counted = || {
        let text = String::from_utf8(served.get("/metrics").bytes).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("latent_images_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(counted(), 0);
    let mut options = small("a sun");
    options["batch_count"] = 3.into();
    served.ended(&served.submit("txt2img", options));
    assert_eq!(counted(), 3);
}
