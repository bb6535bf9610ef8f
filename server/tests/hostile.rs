//! Requests that want to do harm: none ends the server, and none leaves a file.

use crate::common::{Folders, Served, small};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn large_and_broken_bodies_are_refused() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let before = folders.files();
    // It is refused by its length, before a byte of it is sent.
    let mut stream = TcpStream::connect(served.address).unwrap();
    write!(stream, "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    for body in ["", "{", "[]", "null", "{\"verb\": 3}", "{\"verb\": \"txt2img\", \"more\": 1}"] {
        let answer = served.send("POST", "/api/v1/jobs", &[], body.as_bytes());
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_input"), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(served.send("POST", "/api/v1/jobs", &[], deep.as_bytes()).status, 400);
    assert_eq!(served.send("PATCH", "/api/v1/jobs", &[], b"").status, 405);
    assert_eq!(served.send("POST", "/nothing", &[], b"{}").status, 404);
    assert_eq!(folders.files(), before);
    assert_eq!(served.get("/healthz").status, 200);
}

#[test]
fn absurd_settings_fail_alone() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let cases = [
        json!({ "width": 16384, "height": 16384, "batch_size": 256, "batch_count": 256 }),
        json!({ "width": 1_000_000_000u64, "height": 64 }),
        json!({ "steps": 1_000_000_000u64 }),
        json!({ "cfg_scale": 1e308 }),
        json!({ "batch_size": 1_000_000u64, "batch_count": 10_000 }),
        json!({ "sigmas": [1e308, 0.0] }),
        json!({ "prompt": "((((((".repeat(10_000) }),
        json!({ "prompt": "<lora:../../etc/passwd:1>" }),
        json!({ "prompt": "<lora:/etc/passwd:1>" }),
    ];
    for mut options in cases {
        if options.get("prompt").is_none() {
            options["prompt"] = "a".into();
        }
        let is_prompt = options["prompt"].as_str().unwrap().starts_with("(((");
        if is_prompt {
            options.as_object_mut().unwrap().extend(
                small("").as_object().unwrap().clone().into_iter().filter(|(key, _)| key != "prompt"),
            );
        }
        let answer = served.post("/api/v1/jobs", &json!({ "verb": "txt2img", "options": options }));
        if answer.status == 202 {
            let ended = served.ended(answer.json()["id"].as_str().unwrap());
            assert!(is_prompt || ended["state"] == "failed", "{options}: {ended}");
        } else {
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
    let ended = served.ended(&served.submit("txt2img", small("a sun")));
    assert_eq!(ended["state"], "done");
}

#[test]
fn images_that_are_bombs_fail_alone() {
    use base64::Engine as _;
    let folders = Folders::new();
    let served = Served::start(folders.options());
    // 40,000 x 40,000 pixels in a few bytes.
    let mut bomb = Vec::new();
    let mut encoder = png::Encoder::new(&mut bomb, 40_000, 40_000);
    encoder.set_color(png::ColorType::Grayscale);
    drop(encoder.write_header().unwrap());
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    for image in [&bomb[..], b"not an image", &bomb[..20]] {
        let options = json!({ "prompt": "a", "image": { "base64": base64(image), "name": "../../a.png" } });
        let ended = served.ended(&served.submit("img2img", options));
        assert_eq!(
            (&ended["state"], &ended["error"]["code"]),
            (&json!("failed"), &json!("bad_input")),
            "{ended}"
        );
        assert!(ended["error"]["message"].as_str().unwrap().starts_with("a.png: "), "{ended}");
        assert_eq!(served.send("POST", "/api/v1/metadata", &[], image).status, 400);
    }
}

#[test]
fn slow_and_silent_clients_keep_nobody_waiting() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut silent = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let begun: &[u8] = [
            &b"GET / HT"[..],
            b"",
            b"POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
        ][i % 3];
        stream.write_all(begun).unwrap();
        silent.push(stream);
    }
    // Readers of events that read nothing.
    let readers: Vec<_> = (0..20).map(|_| served.open("/api/v1/events")).collect();
    let ids: Vec<String> = (0..5).map(|_| served.submit("txt2img", small("a sun"))).collect();
    assert!(ids.iter().all(|id| served.ended(id)["state"] == "done"));
    drop((silent, readers));
    assert_eq!(served.get("/healthz").status, 200);
}

#[test]
fn headers_cannot_be_injected() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut options = small("a sun\r\nset-cookie: x=1");
    options["negative_prompt"] = "\u{0}\u{1b}[31m".into();
    let ended = served.ended(&served.submit("txt2img", options));
    assert_eq!(ended["state"], "done", "{ended}");
    let file = served.get(ended["images"][0]["url"].as_str().unwrap());
    assert_eq!((file.status, file.header("set-cookie")), (200, None));
    let answer = served.get("/api/v1/images?q=%0d%0aset-cookie:%20x=1");
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
}
