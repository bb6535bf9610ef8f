//! Names that would lead out of the folders: models, images, tokens of the trash, wildcards, and what stands in headers.

use crate::common::{Answer, Folders, Served, small};
use latent_app::job::OPTIONS;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Folders with files beside those that clients may name, and a server.
fn served(folders: &Folders) -> Served {
    let options = folders.options();
    std::fs::write(folders.path("secret.safetensors"), b"secret").unwrap();
    std::fs::write(folders.path("secret.png"), b"secret").unwrap();
    std::fs::write(folders.path("secret.txt"), b"secret").unwrap();
    Served::start(options)
}

/// Names that lead out of a folder, for a file with an extension.
fn names(folders: &Folders, extension: &str) -> Vec<String> {
    let absolute = folders.path("secret").display().to_string();
    let stems = [
        "../secret",
        "./../secret",
        "sub/../../secret",
        "..\\secret",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/secret",
        "\\\\host\\share\\secret",
        "..%2fsecret",
        "secret\0",
        "~/secret",
        "$HOME/secret",
        &absolute,
    ];
    let with = |stem: &&str| [format!("{stem}.{extension}"), (*stem).to_owned()];
    stems.iter().flat_map(with).chain(["..".to_owned(), ".".to_owned(), "/".to_owned()]).collect()
}

/// What an answer to a hostile name must not be, or show.
#[track_caller]
fn is_refused(answer: &Answer, folders: &Folders, about: &str) {
    assert!([400, 404].contains(&answer.status), "{about}: {answer:?}");
    let text = String::from_utf8_lossy(&answer.bytes).replace("\\\\", "\\");
    // A name that the client itself gave may be repeated.
    let own = folders.path("").display().to_string();
    assert!(about.contains(own.trim_end_matches('/')) || !text.contains(&own), "{about}: {text}");
}

#[test]
fn no_option_takes_a_file_outside_the_folders() {
    let folders = Folders::new();
    let served = served(&folders);
    let before = folders.files();
    let takes_files = OPTIONS.iter().filter(|option| option.file_of("a").is_some());
    let options: Vec<String> = takes_files.map(|option| option.name().replace('-', "_")).collect();
    for known in ["model", "vae", "lora", "control_net", "embedding", "hires_upscaler"] {
        assert!(options.iter().any(|option| option == known), "{known}: {options:?}");
    }
    for option in &options {
        for name in names(&folders, "safetensors") {
            let mut options = small("a");
            for value in [json!(name), json!([name]), json!([{ "name": name, "weight": 1 }])] {
                let is_plain = value.is_string();
                options[option] = value;
                let body = json!({ "verb": "txt2img", "options": options });
                let about = format!("{option}: {name}");
                is_refused(&served.post("/api/v1/jobs", &body), &folders, &about);
                // Of a model that is not a file's the default is taken, and images are not for words alone.
                let is_ignored = ["image", "mask", "control_image"].contains(&option.as_str())
                    || option == "model" && !name.ends_with(".safetensors");
                if is_plain && !is_ignored {
                    let body = json!({ "prompt": "a", "size": "32x32", "steps": 1, option: options[option] });
                    is_refused(&served.post("/v1/images/generations", &body), &folders, &about);
                }
            }
            let axis = json!({ "option": option, "values": [name, "demo"] });
            let body = json!({ "verb": "grid", "options": { "prompt": "a", "x": axis } });
            is_refused(&served.post("/api/v1/jobs", &body), &folders, &name);
        }
    }
    for (option, name) in ["model", "upscale_model"]
        .iter()
        .flat_map(|option| names(&folders, "safetensors").into_iter().map(move |name| (*option, name)))
    {
        let body = json!({ "verb": "upscale", "options": { "image": { "base64": "AAAA" }, option: name } });
        is_refused(&served.post("/api/v1/jobs", &body), &folders, &name);
    }
    for option in ["models_dir", "lora_dir", "embd_dir", "wildcards"] {
        let body = json!({ "verb": "txt2img", "options": { "prompt": "a", option: "/" } });
        assert_eq!(served.post("/api/v1/jobs", &body).status, 400, "{option}");
    }
    let drawn = folders.images().len();
    assert_eq!(folders.files().len(), before.len() + drawn);
}

#[test]
fn no_name_of_an_image_leads_out_of_the_gallery() {
    let folders = Folders::new();
    let served = served(&folders);
    let before = folders.files();
    for name in names(&folders, "png") {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [format!("/api/v1/images/{encoded}"), format!("/api/v1/models/{encoded}/inspect")] {
            is_refused(&served.get(&path), &folders, &name);
        }
        for end in ["/thumbnail", "/metadata"] {
            is_refused(&served.get(&format!("/api/v1/images/{encoded}{end}")), &folders, &name);
        }
        is_refused(&served.delete(&format!("/api/v1/images/{encoded}")), &folders, &name);
        for undo in [name.clone(), format!("1-{name}"), format!("../1-{name}"), format!("1/../{name}")] {
            is_refused(&served.post("/api/v1/images/restore", &json!({ "undo": undo })), &folders, &undo);
        }
        for image in [json!({ "image": name }), json!(name)] {
            let options = json!({ "prompt": "a", "image": image });
            let body = json!({ "verb": "img2img", "options": options });
            is_refused(&served.post("/api/v1/jobs", &body), &folders, &name);
            let body = json!({ "prompt": "a", "images": [{ "image_url": image }] });
            is_refused(&served.post("/v1/images/edits", &body), &folders, &name);
        }
    }
    assert_eq!(folders.files(), before);
}

#[test]
fn the_name_of_an_inspected_file_is_never_opened() {
    let folders = Folders::new();
    let served = served(&folders);
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let bytes = std::fs::read(demo).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for name in names(&folders, "safetensors") {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/inspect?name={encoded}&bytes={}", bytes.len());
        let answer = served.send("POST", &path, &[], &bytes[..header]);
        let last = name.rsplit(['/', '\\']).next().unwrap();
        assert_eq!((answer.status, &answer.json()["file"]), (200, &json!(last)), "{name}");
    }
}

/// LoRAs, textual inversions and wildcards are named in prompts.
#[test]
fn no_name_in_a_prompt_leads_out_of_the_folders() {
    let folders = Folders::new();
    let mut options = folders.options();
    std::fs::create_dir(folders.path("wildcards")).unwrap();
    std::fs::create_dir(folders.path("loras")).unwrap();
    std::fs::write(folders.path("secret.safetensors"), b"secret").unwrap();
    std::fs::write(folders.path("secret.txt"), b"secret").unwrap();
    options.wildcards = Some(folders.path("wildcards"));
    (options.lora_dir, options.embd_dir) = (Some(folders.path("loras")), Some(folders.path("loras")));
    let served = Served::start(options);
    let before = folders.files();
    let ids: Vec<(String, String)> = names(&folders, "safetensors")
        .into_iter()
        .filter(|name| !name.contains('\0'))
        .flat_map(|name| [format!("<lora:{name}:1>"), format!("__{name}__"), format!("embedding:{name}")])
        .filter_map(|prompt| {
            let mut options = small(&prompt);
            options["steps"] = 1.into();
            let body = json!({ "verb": "txt2img", "options": options });
            let answer = served.post("/api/v1/jobs", &body);
            assert!([202, 400].contains(&answer.status), "{answer:?}");
            (answer.status == 202).then(|| (prompt, answer.json()["id"].as_str().unwrap().to_owned()))
        })
        .collect();
    let mut drawn = 0;
    for (prompt, id) in ids {
        let ended = served.ended(&id);
        // What is not a name at all are words.
        assert!(ended["state"] == "failed" || !prompt.starts_with("<lora"), "{prompt}: {ended}");
        let text = ended["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(!text.contains("not a safetensors file") && !text.contains("secret\n"), "{prompt}: {text}");
        drawn += ended["images"].as_array().map_or(0, Vec::len);
        for image in ended["images"].as_array().into_iter().flatten() {
            assert_ne!(image["prompt"], "secret", "{prompt}");
        }
    }
    assert_eq!(folders.files().len(), before.len() + drawn);
}

/// A request as it is written; the head of the answer.
fn raw(served: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase()
}

#[test]
fn no_header_is_injected_by_a_host_an_address_or_a_name() {
    let folders = Folders::new();
    let served = served(&folders);
    let close = "connection: close\r\n";
    let requests = [
        format!("GET /api/v1/info HTTP/1.1\r\nhost: localhost\rset-cookie: x=1\r\n{close}\r\n"),
        format!("GET /api/v1/info HTTP/1.1\r\nhost: localhost\nset-cookie: x=1\r\n{close}\r\n"),
        format!("GET /api/v1/images/a%0d%0aset-cookie:x=1.png HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
        format!("GET /%0d%0aset-cookie:%20x=1 HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
        format!("GET http://localhost%0d%0aset-cookie:x/ HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
        format!(
            "GET /api/v1/info HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-host: localhost\r\n{close}\r\n"
        ),
        format!("GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n{close}\r\n"),
        format!("GET /api/v1/info HTTP/1.1\r\n{close}\r\n"),
    ];
    for request in requests {
        let head = raw(&served, &request);
        assert!(!head.contains("\nset-cookie") && !head.contains("\nlocation"), "{request}: {head}");
        assert!(
            head.starts_with("http/1.1 4") || request.contains("host: localhost\nset"),
            "{request}: {head}"
        );
    }
    // Addresses of images are made of the host that the request named, and of a proxy's word for the protocol.
    let body = json!({ "prompt": "a", "size": "32x32", "steps": 1, "response_format": "url" });
    for protocol in ["https", "https\t", "javascript", "https://evil.example/?", "https, http"] {
        let headers = [("x-forwarded-proto", protocol), ("content-type", "application/json")];
        let answer = served.send("POST", "/v1/images/generations", &headers, body.to_string().as_bytes());
        let url: Value = answer.json()["data"][0]["url"].clone();
        let url = url.as_str().unwrap_or_else(|| panic!("{answer:?}"));
        let (scheme, rest) = url.split_once("://").unwrap();
        assert!(["http", "https"].contains(&scheme), "{protocol}: {url}");
        assert!(rest.starts_with(&format!("{}/api/v1/images/", served.address)), "{protocol}: {url}");
    }
}
