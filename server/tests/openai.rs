//! OpenAI's API: images from words, models, streams and errors.

use crate::common::{Answer, Folders, Served, endless, small};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const GENERATIONS: &str = "/v1/images/generations";

/// A small image in OpenAI's words.
pub(crate) fn asked(more: &Value) -> Value {
    let mut body = json!({ "prompt": "a red apple", "size": "32x32", "steps": 2, "seed": 7 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The bytes of the images of an answer.
#[track_caller]
pub(crate) fn images(answer: &Answer) -> Vec<Vec<u8>> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    let answer = answer.json();
    let data = answer["data"].as_array().unwrap().iter();
    data.map(|image| STANDARD.decode(image["b64_json"].as_str().unwrap()).unwrap()).collect()
}

/// The events of a stream: their names and data.
pub(crate) fn events(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{answer:?}");
    let text = String::from_utf8(answer.bytes.clone()).unwrap();
    let event = |block: &str| {
        let line = |key: &str| block.lines().find_map(|line| line.strip_prefix(key));
        Some((line("event: ")?.to_owned(), serde_json::from_str(line("data: ")?).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

/// The kind, the field and the code of an error in OpenAI's shape.
#[track_caller]
pub(crate) fn error(answer: &Answer) -> (String, Option<String>, String) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let error = &answer.json()["error"];
    assert!(!error["message"].as_str().unwrap().contains('\n'), "{error}");
    let text = |key: &str| error[key].as_str().unwrap().to_owned();
    (text("type"), error["param"].as_str().map(str::to_owned), text("code"))
}

#[test]
fn an_image_from_words_has_the_bytes_of_the_gallery() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let answer = served.post(GENERATIONS, &asked(&json!({ "model": "gpt-image-1", "quality": "high" })));
    let drawn = images(&answer);
    let names = folders.images();
    assert_eq!((drawn.len(), names.len()), (1, 1));
    assert!(drawn[0] == served.get(&format!("/api/v1/images/{}", names[0])).bytes);
    let ended = served.ended(&served.submit("txt2img", small("a red apple")));
    assert!(drawn[0] == served.get(ended["images"][0]["url"].as_str().unwrap()).bytes);
    let answer = answer.json();
    assert_eq!((&answer["size"], &answer["output_format"]), (&json!("32x32"), &json!("png")));
    assert_eq!((&answer["quality"], &answer["background"]), (&json!("high"), &json!("opaque")));
    assert_eq!(answer["usage"]["input_tokens_details"]["text_tokens"], 0);
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(served.get("/api/v1/jobs").json()["jobs"][1]["api"], "openai");
}

#[test]
fn several_images_have_seeds_that_count_up() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let both = images(&served.post(GENERATIONS, &asked(&json!({ "n": 2 }))));
    let second = images(&served.post(GENERATIONS, &asked(&json!({ "seed": 8 }))));
    assert!(both.len() == 2 && both[0] != both[1] && both[1] == second[0]);
}

#[test]
fn a_prompt_that_was_drawn_otherwise_is_in_the_answer() {
    let folders = Folders::new();
    let mut options = folders.options();
    std::fs::create_dir(folders.path("wildcards")).unwrap();
    std::fs::write(folders.path("wildcards/fruit.txt"), "pear\n").unwrap();
    options.wildcards = Some(folders.path("wildcards"));
    let served = Served::start(options);
    let answer = served.post(GENERATIONS, &asked(&json!({ "prompt": "a __fruit__" }))).json();
    assert_eq!(answer["data"][0]["revised_prompt"], "a pear");
    let answer = served.post(GENERATIONS, &asked(&json!({ "prompt": "a pear" }))).json();
    assert!(answer["data"][0].get("revised_prompt").is_none());
}

#[test]
fn an_address_leads_to_the_image() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let answer =
        served.post(GENERATIONS, &asked(&json!({ "response_format": "url", "output_format": "webp" })));
    let answer = answer.json();
    let (image, base) = (&answer["data"][0], format!("http://{}", served.address));
    assert!(image.get("b64_json").is_none() && answer["output_format"] == "png", "{answer}");
    let path = image["url"].as_str().unwrap().strip_prefix(&base).unwrap();
    let file = served.get(path);
    assert_eq!((file.status, file.header("content-type")), (200, Some("image/png")));
    let body = asked(&json!({ "response_format": "url" })).to_string();
    let proxied = [("content-type", "application/json"), ("x-forwarded-proto", "https")];
    let answer = served.send("POST", GENERATIONS, &proxied, body.as_bytes()).json();
    assert!(answer["data"][0]["url"].as_str().unwrap().starts_with(&format!("https://{}/", served.address)));
}

#[test]
fn images_come_in_the_format_that_is_asked_for_with_their_metadata() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let drawn = |more: Value| images(&served.post(GENERATIONS, &asked(&more))).remove(0);
    let png = drawn(json!({}));
    let pixels = |bytes: &[u8]| latent_app::image_file::decode_bytes("image", bytes).unwrap();
    let webp = drawn(json!({ "output_format": "webp", "output_compression": 80 }));
    assert!(webp.starts_with(b"RIFF") && pixels(&webp) == pixels(&png));
    let jpeg = drawn(json!({ "output_format": "jpeg" }));
    let small = drawn(json!({ "output_format": "jpeg", "output_compression": 10 }));
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && small.len() < jpeg.len());
    for file in [&png, &webp, &jpeg] {
        let metadata = served.send("POST", "/api/v1/metadata", &[], file).json();
        assert_eq!(
            (&metadata["prompt"], &metadata["job"]["options"]["seed"]),
            (&json!("a red apple"), &json!(7))
        );
    }
}

#[test]
fn a_stream_has_as_many_unfinished_images_as_asked_for_and_the_finished_ones() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let body = asked(&json!({ "stream": true, "partial_images": 2, "steps": 5, "n": 2 }));
    let events = events(&served.post(GENERATIONS, &body));
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let (partial, completed) = ("image_generation.partial_image", "image_generation.completed");
    assert_eq!(names, [partial, partial, completed, partial, partial, completed]);
    for (i, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["size"]), (&json!(name), &json!("32x32")), "{i}");
        let file = STANDARD.decode(data["b64_json"].as_str().unwrap()).unwrap();
        assert!(data["output_format"] == "png" && file.starts_with(b"\x89PNG"), "{i}");
        assert!(data["created_at"].is_u64() && data["quality"] == "auto" && data["background"] == "opaque");
        if name == partial {
            assert_eq!(data["partial_image_index"], i % 3, "{data}");
        } else {
            assert_eq!(data["usage"]["total_tokens"], 0);
            let name = &folders.images()[i / 3];
            assert!(file == served.get(&format!("/api/v1/images/{name}")).bytes);
        }
    }
    let body = asked(&json!({ "stream": true, "partial_images": 3, "output_format": "webp" }));
    let events = crate::openai::events(&served.post(GENERATIONS, &body));
    assert_eq!(events.len(), 4);
    for (_, data) in events {
        assert!(STANDARD.decode(data["b64_json"].as_str().unwrap()).unwrap().starts_with(b"RIFF"));
    }
}

#[test]
fn an_error_within_a_stream_is_its_last_event() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let events = events(&served.post(GENERATIONS, &asked(&json!({ "stream": true, "size": "33x32" }))));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0].0.as_str(), &events[0].1["error"]["type"]),
        ("error", &json!("invalid_request_error"))
    );
}

#[test]
fn options_of_jobs_are_honoured_and_what_is_not_known_is_ignored() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let more = json!({
        "negative_prompt": "grey", "cfg_scale": 3.5, "sampler": "ddim", "scheduler": "karras", "style": "vivid",
        "user": "somebody", "moderation": "low", "safety_identifier": "x", "complexity": "low", "frames": [1],
        "batch_count": 50, "quality": {}, "svg": null, "input_fidelity": "high", "hires": false, "model": "dall-e-3",
    });
    let answer = images(&served.post(GENERATIONS, &asked(&more)));
    assert_eq!((answer.len(), folders.images().len()), (1, 1));
    let metadata = served.send("POST", "/api/v1/metadata", &[], &answer[0]).json();
    let options = &metadata["job"]["options"];
    assert_eq!((&options["negative_prompt"], &options["cfg_scale"]), (&json!("grey"), &json!(3.5)));
    assert_eq!((&options["sampler"], &options["scheduler"]), (&json!("ddim"), &json!("karras")));
    // Sizes as other services have them.
    let body = json!({ "prompt": "a sun", "width": 40, "height": 32, "steps": 1, "size": "auto" });
    assert_eq!(served.post(GENERATIONS, &body).json()["size"], "40x32");
}

#[test]
fn models_that_draw_are_listed() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let list = served.get("/v1/models").json();
    let expected = json!({ "id": "demo", "object": "model", "created": 0, "owned_by": "latent" });
    assert_eq!((&list["object"], &list["data"]), (&json!("list"), &json!([expected])));
    assert_eq!(served.get("/v1/models/demo").json(), expected);
    for name in ["gpt-image-1", "..%2f..%2fetc%2fpasswd", "%ff"] {
        let missing = served.get(&format!("/v1/models/{name}"));
        assert_eq!(missing.status, 404, "{name}");
        error(&missing);
    }
    let missing = served.post(GENERATIONS, &asked(&json!({ "model": "missing.safetensors" })));
    assert_eq!(missing.status, 404);
    let expected =
        ("invalid_request_error".to_owned(), Some("model".to_owned()), "model_not_found".to_owned());
    assert_eq!(error(&missing), expected);
    assert_eq!(images(&served.post(GENERATIONS, &asked(&json!({ "model": "demo" })))).len(), 1);
}

#[test]
fn a_model_that_does_not_draw_is_refused_by_its_name() {
    let folders = Folders::new();
    let options = folders.options();
    std::fs::write(folders.path("models/broken.safetensors"), b"no header").unwrap();
    let served = Served::start(options);
    let refused = served.post(GENERATIONS, &asked(&json!({ "model": "broken" })));
    assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("model")));
    assert_eq!(served.get("/v1/models").json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(served.get("/v1/models/broken").status, 404);
}

#[test]
fn each_error_has_the_shape_of_openai() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let cases = [
        (json!({ "size": "7x7" }), "width"),
        (json!({ "size": "large" }), "size"),
        (json!({ "size": 512 }), "size"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": 11 }), "n"),
        (json!({ "n": 1.5 }), "n"),
        (json!({ "output_format": "gif" }), "output_format"),
        (json!({ "output_compression": 101 }), "output_compression"),
        (json!({ "response_format": "bytes" }), "response_format"),
        (json!({ "background": "transparent" }), "background"),
        (json!({ "partial_images": 4 }), "partial_images"),
        (json!({ "stream": "perhaps" }), "stream"),
        (json!({ "prompt": 3 }), "prompt"),
        (json!({ "prompt": null }), "prompt"),
        (json!({ "steps": "many" }), "steps"),
        (json!({ "strength": 0.5 }), "strength"),
        (json!({ "models_dir": "/" }), "models_dir"),
    ];
    for (more, param) in cases {
        let answer = served.post(GENERATIONS, &asked(&more));
        assert_eq!(answer.status, 400, "{more}: {answer:?}");
        let expected =
            ("invalid_request_error".to_owned(), Some(param.to_owned()), "invalid_value".to_owned());
        assert_eq!(error(&answer), expected, "{more}: {answer:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    for body in ["", "[]", "{", "\"a\"", "null"] {
        let answer = served.send("POST", GENERATIONS, &[], body.as_bytes());
        assert_eq!((answer.status, error(&answer).2.as_str()), (400, "invalid_value"), "{body}");
    }
    let elsewhere = served.post("/v1/chat/completions", &json!({}));
    assert_eq!((elsewhere.status, error(&elsewhere).2.as_str()), (404, "not_found"));
    assert_eq!(error(&served.get("/v1/nothing")).2, "not_found");
    let method = served.delete(GENERATIONS);
    assert_eq!((method.status, error(&method).2.as_str()), (405, "method_not_allowed"));
    assert!(folders.images().is_empty());
}

#[test]
fn a_key_a_full_queue_and_a_cancelled_job_have_their_own_errors() {
    let folders = Folders::new();
    let mut options = folders.options();
    (options.api_key, options.max_queue) = (Some("secret".into()), 1);
    let served = Served::start(options);
    let refused = served.post(GENERATIONS, &asked(&json!({})));
    assert_eq!((refused.status, error(&refused).2.as_str()), (401, "invalid_api_key"));
    let key = [("authorization", "Bearer secret"), ("content-type", "application/json")];
    let submit = || {
        let body = json!({ "verb": "txt2img", "options": endless() });
        served.send("POST", "/api/v1/jobs", &key, body.to_string().as_bytes())
    };
    let cancel = |answer: &Answer| {
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(served.send("DELETE", &format!("/api/v1/jobs/{id}"), &key, b"").status, 200);
    };
    let running = submit();
    let path = format!("/api/v1/jobs/{}", running.json()["id"].as_str().unwrap());
    while served.send("GET", &path, &key, b"").json()["state"] == "queued" {
        std::thread::yield_now();
    }
    let waiting = submit();
    assert_eq!(waiting.status, 202);
    let full = served.send("POST", GENERATIONS, &key, asked(&json!({})).to_string().as_bytes());
    assert_eq!((full.status, error(&full).0.as_str()), (429, "rate_limit_error"));
    assert!(full.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(full.header("x-should-retry"), Some("true"));
    cancel(&waiting);
    // One that somebody cancels would only be drawn once more.
    std::thread::scope(|scope| {
        let drawing =
            scope.spawn(|| served.send("POST", GENERATIONS, &key, asked(&json!({})).to_string().as_bytes()));
        let own = loop {
            let list = served.send("GET", "/api/v1/jobs?limit=1", &key, b"").json();
            if list["jobs"][0]["api"] == "openai" {
                break list["jobs"][0]["id"].as_str().unwrap().to_owned();
            }
        };
        assert_eq!(served.send("DELETE", &format!("/api/v1/jobs/{own}"), &key, b"").status, 200);
        let answer = drawing.join().unwrap();
        assert_eq!((answer.status, error(&answer).2.as_str()), (409, "cancelled"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    });
    cancel(&running);
}

#[test]
fn the_description_has_typed_bodies() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let description = served.get("/openapi.json").json();
    let content = |path: &str| description["paths"][path]["post"]["requestBody"]["content"].clone();
    assert!(content(GENERATIONS)["application/json"]["schema"]["$ref"].is_string());
    let edits = content("/v1/images/edits");
    assert!(edits["multipart/form-data"].is_object() && edits["application/json"].is_object());
    assert!(content("/v1/images/variations")["multipart/form-data"].is_object());
    let schema = &description["components"]["schemas"]["GenerationBody"];
    assert_eq!(
        (&schema["required"], &schema["properties"]["n"]["maximum"]),
        (&json!(["prompt"]), &json!(10))
    );
    let answer = &description["paths"][GENERATIONS]["post"]["responses"]["200"]["content"];
    assert!(answer["application/json"].is_object() && answer["text/event-stream"].is_object());
    assert!(description["paths"]["/v1/models/{id}"]["get"].is_object());
}

#[test]
fn a_client_that_goes_away_cancels_its_job() {
    use std::io::Write as _;
    let folders = Folders::new();
    let served = Served::start(folders.options());
    for is_streamed in [false, true] {
        let body = json!({ "prompt": "a", "steps": 1000, "size": "64x64", "n": 10, "stream": is_streamed })
            .to_string();
        let mut stream = std::net::TcpStream::connect(served.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {GENERATIONS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let newest = || served.get("/api/v1/jobs?limit=1").json()["jobs"][0].clone();
        while newest()["state"] != "running" {
            std::thread::yield_now();
        }
        drop(stream);
        while newest()["state"] == "running" {
            std::thread::yield_now();
        }
        assert_eq!(newest()["state"], "cancelled");
    }
}
