//! OpenAI's API: edits and variations, and the forms in which they come.

use crate::common::{Answer, Folders, Served};
use crate::openai::{asked, error, events, images};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::image_file::{InputImage, decode_bytes};
use latent_app::output::{ImageFileFormat, file_bytes};
use latent_benches::{DType, Manifest, synth};
use latent_diffusion::Image;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

const EDITS: &str = "/v1/images/edits";
const VARIATIONS: &str = "/v1/images/variations";
const BOUNDARY: &str = "----a-boundary";

/// A part of a form: its name, the name of its file, and its contents.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, contents) in parts {
        let file =
            file.map_or(String::new(), |file| format!("; filename=\"{file}\"\r\ncontent-type: image/png"));
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(contents);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn send(served: &Served, path: &str, body: &[u8]) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    served.send("POST", path, &[("content-type", &kind)], body)
}

/// The texts of a small edit.
const TEXTS: [Part<'_>; 4] = [
    ("prompt", None, b"a green apple"),
    ("steps", None, b"2"),
    ("seed", None, b"7"),
    ("model", None, b"gpt-image-1"),
];

fn with<'a>(parts: &[Part<'a>]) -> Vec<u8> {
    form(&[&TEXTS[..], parts].concat())
}

/// A grey PNG whose right half is as opaque as `alpha`.
fn png(side: usize, alpha: u8) -> Vec<u8> {
    let image = Image { width: side, height: side, rgb: Vec::new() };
    let pixel = |i: usize| [90, 90, 90, if i % side < side / 2 { 255 } else { alpha }];
    let rgba: Vec<u8> = (0..side * side).flat_map(pixel).collect();
    file_bytes(&InputImage::drawn(image, Some(&rgba)), ImageFileFormat::Png, &[]).unwrap()
}

/// How the newest job was asked for.
fn newest(served: &Served) -> (String, u64) {
    let job = served.get("/api/v1/jobs?limit=1").json()["jobs"][0].clone();
    (job["verb"].as_str().unwrap().to_owned(), job["images"].as_array().unwrap().len() as u64)
}

/// Pixels of the left and of the right half that differ from the grey of [`png`].
fn changed(file: &[u8]) -> [usize; 2] {
    let image = decode_bytes("image", file).unwrap().image;
    let mut changed = [0; 2];
    for (i, pixel) in image.rgb.chunks_exact(3).enumerate() {
        // The edge of the mask is soft.
        let x = i % image.width;
        if pixel != [90; 3] && (x < image.width / 4 || x >= image.width / 2) {
            changed[usize::from(x >= image.width / 2)] += 1;
        }
    }
    changed
}

#[test]
fn a_mask_says_by_transparency_what_is_drawn_anew() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let (image, mask) = (png(64, 255), png(64, 0));
    let parts: [Part<'_>; 3] =
        [("image", Some("in.png"), &image), ("mask", Some("mask.png"), &mask), ("size", None, b"64x64")];
    let drawn = images(&send(&served, EDITS, &with(&parts)));
    assert_eq!(newest(&served), ("inpaint".to_owned(), 1));
    let [left, right] = changed(&drawn[0]);
    assert!(left == 0 && right > 1000, "{left} {right}");
    // Another size is that of the result.
    let parts: [Part<'_>; 3] =
        [("image[]", Some("in.png"), &image), ("mask", Some("mask.png"), &mask), ("size", None, b"32x48")];
    let answer = send(&served, EDITS, &with(&parts));
    assert_eq!((images(&answer).len(), &answer.json()["size"]), (1, &json!("32x48")));
    assert_eq!(newest(&served).0, "inpaint");
}

#[test]
fn the_image_decides_what_is_drawn_where_there_is_no_mask() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    for (alpha, verb) in [(0, "inpaint"), (255, "img2img"), (100, "img2img")] {
        let image = png(64, alpha);
        // An empty field is what a page sends where no file was chosen.
        let parts: [Part<'_>; 3] =
            [("image", Some("in.png"), &image), ("mask", None, b""), ("size", None, b"auto")];
        assert_eq!(images(&send(&served, EDITS, &with(&parts))).len(), 1);
        assert_eq!(newest(&served).0, verb, "{alpha}");
    }
    let image = png(64, 0);
    let parts: [Part<'_>; 4] = [
        ("image", Some("in.png"), &image),
        ("size", None, b"32x32"),
        ("strength", None, b"0.9"),
        ("n", None, b"2"),
    ];
    let answer = send(&served, EDITS, &with(&parts));
    assert_eq!((images(&answer).len(), &answer.json()["size"]), (2, &json!("32x32")));
    assert_eq!(newest(&served), ("inpaint".to_owned(), 2));
}

#[test]
fn a_model_that_follows_instructions_edits_without_a_mask() {
    let folders = Folders::new();
    let options = folders.options();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/manifests");
    let manifest = std::fs::read_to_string(manifests.join("sd15-pix2pix-tiny-single.json")).unwrap();
    let files = Manifest::parse(&manifest).unwrap();
    let file = synth::bytes(files.files().values().next().unwrap(), 1, DType::F16);
    std::fs::write(folders.path("models/pix2pix.safetensors"), file).unwrap();
    let served = Served::start(options);
    let (image, mask) = (png(64, 255), png(64, 0));
    let edit = |more: &[Part<'_>]| {
        let parts: [Part<'_>; 5] = [
            ("image", Some("in.png"), &image),
            ("model", None, b"pix2pix.safetensors"),
            ("prompt", None, b"make it green"),
            ("steps", None, b"1"),
            ("size", None, b"64x64"),
        ];
        send(&served, EDITS, &form(&[&parts[..], more].concat()))
    };
    assert_eq!(images(&edit(&[])).len(), 1);
    assert_eq!(newest(&served), ("edit".to_owned(), 1));
    let refused = edit(&[("mask", Some("mask.png"), &mask)]);
    assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("mask")));
    // What it cannot do is said at the model.
    let refused = served.post("/v1/images/generations", &asked(&json!({ "model": "pix2pix" })));
    assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("model")));
    let listed = served.get("/v1/models").json();
    assert!(
        listed["data"][1]["id"] == "pix2pix"
            && listed["data"][1]["created"].as_u64().unwrap() > 1_700_000_000
    );
}

#[test]
fn an_edit_comes_as_json_too() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let url =
        |bytes: &[u8]| json!({ "image_url": format!("data:image/png;base64,{}", STANDARD.encode(bytes)) });
    let body = asked(&json!({ "images": [url(&png(32, 255))], "mask": url(&png(32, 0)) }));
    assert_eq!(images(&served.post(EDITS, &body)).len(), 1);
    assert_eq!(newest(&served).0, "inpaint");
    for image in [
        json!({ "image_url": "http://127.0.0.1:1/a.png" }),
        json!({ "file_id": "file-1" }),
        json!("/etc/passwd"),
    ] {
        let refused = served.post(EDITS, &asked(&json!({ "images": [image] })));
        assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("image")), "{image}");
    }
}

#[test]
fn an_edit_can_be_streamed() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let image = png(32, 255);
    let parts: [Part<'_>; 4] = [
        ("image", Some("in.png"), &image),
        ("stream", None, b"true"),
        ("partial_images", None, b"1"),
        ("size", None, b"32x32"),
    ];
    let events = events(&send(&served, EDITS, &with(&parts)));
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["image_edit.partial_image", "image_edit.completed"]);
}

#[test]
fn a_variation_shows_what_the_metadata_say() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let first = images(&served.post("/v1/images/generations", &asked(&json!({})))).remove(0);
    let body = form(&[
        ("image", Some("in.png"), &first),
        ("size", None, b"32x32"),
        ("n", None, b"2"),
        ("steps", None, b"2"),
    ]);
    let drawn = images(&send(&served, VARIATIONS, &body));
    assert_eq!((drawn.len(), newest(&served).0.as_str()), (2, "img2img"));
    let metadata = served.send("POST", "/api/v1/metadata", &[], &drawn[0]).json();
    assert_eq!(
        (&metadata["prompt"], &metadata["settings"]["strength"]),
        (&json!("a red apple"), &json!(0.6)),
        "{metadata}"
    );
    // An image that says nothing.
    let plain = png(32, 255);
    let body = form(&[
        ("image", Some("in.png"), &plain),
        ("size", None, b"32x32"),
        ("steps", None, b"1"),
        ("response_format", None, b"url"),
    ]);
    assert!(send(&served, VARIATIONS, &body).json()["data"][0]["url"].is_string());
}

#[test]
fn forms_have_limits() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let image = png(32, 255);
    let many: Vec<Part<'_>> = vec![("more", None, b"x"); 101];
    let refused = send(&served, EDITS, &form(&many));
    assert_eq!((refused.status, error(&refused).2.as_str()), (413, "too_large"));
    let long = vec![b'a'; 200 << 10];
    let refused = send(&served, EDITS, &form(&[("image", Some("a.png"), &image), ("prompt", None, &long)]));
    assert_eq!((refused.status, error(&refused).1.as_deref()), (413, Some("prompt")));
    // It is refused by its length, before a byte of it is sent.
    let mut stream = TcpStream::connect(served.address).unwrap();
    let length = (64 << 20) + 1;
    write!(stream, "POST {EDITS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let two: [Part<'_>; 2] = [("image[]", Some("a.png"), &image), ("image[]", Some("b.png"), &image)];
    let refused = send(&served, EDITS, &with(&two));
    assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("image")));
    let whole = with(&[("image", Some("a.png"), &image)]);
    for body in [&b""[..], b"nothing", b"\xff\xfe", &whole[..whole.len() / 2], &whole[..60]] {
        let refused = send(&served, EDITS, body);
        assert_eq!((refused.status, error(&refused).0.as_str()), (400, "invalid_request_error"));
    }
    let no_boundary = served.send("POST", EDITS, &[("content-type", "multipart/form-data")], &whole);
    assert_eq!((no_boundary.status, error(&no_boundary).2.as_str()), (400, "invalid_value"));
    assert!(folders.images().is_empty());
}

#[test]
fn what_is_wrong_with_an_image_is_said_at_its_field() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let (image, opaque, other) = (png(32, 255), png(32, 255), png(16, 0));
    let mut bomb = Vec::new();
    let mut encoder = png::Encoder::new(&mut bomb, 40_000, 40_000);
    encoder.set_color(png::ColorType::Grayscale);
    drop(encoder.write_header().unwrap());
    let cases: [(&[Part<'_>], &str); 6] = [
        (&[], "image"),
        (&[("image", Some("a.png"), b"not an image")], "image"),
        (&[("image", Some("a.png"), &bomb)], "image"),
        (&[("image", Some("a.png"), &image), ("mask", Some("m.png"), &opaque)], "mask"),
        (&[("image", Some("a.png"), &image), ("mask", Some("m.png"), &other)], "mask"),
        (&[("image", Some("a.png"), &image), ("mask", Some("m.png"), &bomb)], "mask"),
    ];
    for (parts, param) in cases {
        let refused = send(&served, EDITS, &with(parts));
        assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some(param)), "{refused:?}");
    }
    for image in [&b"not an image"[..], &bomb] {
        let refused = send(&served, VARIATIONS, &form(&[("image", Some("a.png"), image)]));
        assert_eq!((refused.status, error(&refused).1.as_deref()), (400, Some("image")), "{refused:?}");
    }
    assert_eq!(served.get("/api/v1/jobs").json()["jobs"], json!([]), "nothing of it is worth a job");
}

#[test]
fn names_of_uploaded_files_lead_nowhere() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let image = png(32, 255);
    for name in ["../../../escaped.png", "/tmp/escaped.png", "..\\escaped.png", "C:escaped.png", ""] {
        let parts: [Part<'_>; 2] = [("image", Some(name), &image), ("size", None, b"32x32")];
        let drawn = images(&send(&served, EDITS, &with(&parts)));
        let metadata = served.send("POST", "/api/v1/metadata", &[], &drawn[0]).json().to_string();
        assert!(!metadata.contains("..") && !metadata.contains("/tmp/"), "{name}: {metadata}");
    }
    assert!(!folders.path("escaped.png").exists() && folders.images().len() == 5);
}
