//! Bodies that want to fill the memory or the disk, and clients that want to fill the connections.

use crate::common::{Folders, Served, small};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A piece of a PNG.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc.sum().to_be_bytes());
    out
}

/// A PNG of a size with more chunks after its header, and whatever pixels.
fn png((width, height): (u32, u32), more: &[u8], pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let parts = [chunk(b"IHDR", &header), more.to_vec(), chunk(b"IDAT", pixels), chunk(b"IEND", &[])];
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A text of so many megabytes as a chunk of a few KB.
fn long_text(megabytes: usize) -> Vec<u8> {
    let mut text = b"parameters\0\x01\0\0\0".to_vec();
    text.extend(zipped(&vec![b'a'; megabytes << 20]));
    chunk(b"iTXt", &text)
}

/// Bytes that a process had in memory at most.
#[cfg(target_os = "linux")]
fn peak_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn images_that_are_bombs_are_refused_everywhere() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let before = folders.files();
    let rows = zipped(&vec![0; 32 * (32 * 3 + 1)]);
    let texts: Vec<u8> = (0..4).flat_map(|_| long_text(64)).collect();
    let bombs = [
        png((65_535, 65_535), &[], &zipped(&[0; 1000])),
        png((u32::MAX, u32::MAX), &[], &[]),
        png((0, 1), &[], &[]),
        png((65_535, 65_535), &texts, &zipped(&[0; 1000])),
    ];
    for bomb in &bombs {
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let value = json!({ "base64": STANDARD.encode(bomb) });
        for (verb, more) in
            [("img2img", "image"), ("upscale", "image"), ("replay", "image"), ("inpaint", "mask")]
        {
            let mut options = json!({ "image": value, "prompt": "a" });
            options[more] = value.clone();
            if verb == "upscale" || verb == "replay" {
                options.as_object_mut().unwrap().remove("prompt");
            }
            let ended = served.ended(&served.submit(verb, options));
            assert_eq!(
                (&ended["state"], &ended["error"]["code"]),
                (&json!("failed"), &json!("bad_input")),
                "{ended}"
            );
        }
        let url = format!("data:image/png;base64,{}", STANDARD.encode(bomb));
        let body = json!({ "prompt": "a", "images": [{ "image_url": url }] });
        assert_eq!(served.post("/v1/images/edits", &body).status, 400);
    }
    // Long texts are left out; the image itself may be good.
    let image = png((32, 32), &texts, &rows);
    let answer = served.send("POST", "/api/v1/metadata", &[], &image);
    assert!(answer.bytes.len() < 1 << 20 && [200, 400].contains(&answer.status), "{answer:?}");
    assert_eq!(folders.files(), before);
    assert_eq!(served.get("/healthz").status, 200);
}

/// Sends a body of a gigabyte, in chunks or of a known length; the beginning of the answer and the bytes that were sent.
#[cfg(target_os = "linux")]
fn send_gigabyte(served: &Served, path: &str, is_chunked: bool) -> (String, u64) {
    let mut stream = TcpStream::connect(served.address).unwrap();
    let length = if is_chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", 1 << 30)
    };
    write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\n").unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        // A connection that breaks after the answer is as good as one that ends.
        let _ = reader.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let piece = [b' '; 1 << 16];
    let (head, tail) = if is_chunked { ("10000\r\n", "\r\n") } else { ("", "") };
    let framed = [head.as_bytes(), &piece, tail.as_bytes()].concat();
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(&framed).is_ok() {
        sent += piece.len() as u64;
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    (answer.join().unwrap(), sent)
}

#[test]
#[cfg(target_os = "linux")]
fn a_gigabyte_is_refused_early_and_takes_no_memory() {
    let folders = Folders::new();
    let served = Served::process(&folders, "true");
    let before = folders.files();
    for path in ["/api/v1/jobs", "/v1/images/generations", "/api/v1/metadata", "/api/v1/inspect"] {
        for is_chunked in [false, true] {
            let (answer, sent) = send_gigabyte(&served, path, is_chunked);
            assert!(answer.starts_with("HTTP/1.1 413 "), "{path} {is_chunked}: {answer}");
            assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
            // What is accepted, what is read on, and what lies in the sockets.
            assert!(sent < 300 << 20, "{path} {is_chunked}: {sent}");
        }
    }
    assert_eq!(folders.files(), before);
    let peak = peak_bytes(served.process_id());
    assert!(peak < 500 << 20, "{peak}");
    assert_eq!(served.get("/healthz").status, 200);
}

/// A client that sends all of its request before it reads gets the answer, not a broken connection.
#[test]
fn a_client_that_is_refused_while_it_sends_gets_the_answer() {
    let folders = Folders::new();
    let mut options = folders.options();
    options.api_key = Some("secret".into());
    let served = Served::start(options);
    let cases = [
        ("/api/v1/jobs", "authorization: Bearer secret", 70 << 20, "413"),
        ("/api/v1/jobs", "authorization: Bearer wrong", 16 << 20, "401"),
        ("/api/v1/jobs", "origin: http://evil.example", 16 << 20, "403"),
        ("/nothing", "authorization: Bearer secret", 16 << 20, "404"),
        ("/api/v1/info", "authorization: Bearer secret", 16 << 20, "405"),
    ];
    for (path, header, bytes, status) in cases {
        let mut stream = TcpStream::connect(served.address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\ncontent-length: {bytes}\r\n\r\n"
        )
        .unwrap();
        // Some of it stays unsent where the server reads on for a shorter time.
        let piece = vec![b' '; bytes.min(48 << 20)];
        stream.write_all(&piece).unwrap_or_else(|error| panic!("{status}: {error}"));
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes());
    }
}

/// A client that asks before it sends is not asked for what is refused.
#[test]
fn a_client_that_asks_before_it_sends_is_refused_at_once() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head =
        "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1000000000";
    write!(stream, "{head}\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// Connections that are open, as the server counts them.
#[cfg(target_os = "linux")]
fn connections(served: &Served) -> usize {
    let text = String::from_utf8(served.get("/metrics").bytes).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("latent_http_connections "));
    line.unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_clients_that_send_a_byte_now_and_then_keep_nobody_waiting() {
    const CLIENTS: usize = 1000;
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let begun: [&[u8]; 4] = [
        b"GET /api/v1/info HTTP/1.1\r\nhost: loc",
        b"",
        b"POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{",
        b"POST /v1/images/edits HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n{",
    ];
    let mut slow: Vec<TcpStream> = (0..CLIENTS)
        .map(|i| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            stream.write_all(begun[i % begun.len()]).unwrap();
            stream
        })
        .collect();
    let readers: Vec<_> = (0..50).map(|_| served.open("/api/v1/events")).collect();
    while connections(&served) < CLIENTS + readers.len() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let ids: Vec<String> = (0..3).map(|_| served.submit("txt2img", small("a sun"))).collect();
    for (i, id) in ids.iter().enumerate() {
        // One that was let go meanwhile, on a slow machine, cannot be written to.
        slow.iter_mut().for_each(|stream| drop(stream.write_all(b"a")));
        assert_eq!(served.ended(id)["state"], "done", "{i}");
    }
    drop((slow, readers));
    while connections(&served) > 10 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn absurd_numbers_and_prompts_are_refused() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let before = folders.files();
    let tags = |number: usize| (0..number).map(|i| format!("<lora:l{i}:1>")).collect::<String>();
    let cases = [
        json!({ "steps": 1_000_000_000u64 }),
        json!({ "width": 1_000_000_000u64, "height": 1_000_000_000u64 }),
        json!({ "batch_count": 1_000_000_000u64 }),
        json!({ "steps": -1 }),
        json!({ "steps": 1e300 }),
        json!({ "cfg_scale": "NaN" }),
        json!({ "cfg_scale": "inf" }),
        json!({ "cfg_scale": "1e999" }),
        json!({ "sigmas": ["NaN", 1, 0] }),
        json!({ "eta": "-inf" }),
        json!({ "prompt": "a ".repeat(1 << 19) }),
        json!({ "negative_prompt": "a ".repeat(1 << 19) }),
        json!({ "prompt": tags(100_000) }),
        json!({ "prompt": "{".repeat(60_000) }),
        json!({ "lora": vec!["a"; 100_000] }),
    ];
    for case in cases {
        let mut options = small("a");
        options.as_object_mut().unwrap().extend(case.as_object().unwrap().clone());
        let shown: String = case.to_string().chars().take(60).collect();
        // There the number of images has another name.
        let mut other = options.clone();
        if let Some(count) = case.get("batch_count") {
            other["n"] = count.clone();
        }
        let own = json!({ "verb": "txt2img", "options": options });
        for (path, body) in [("/api/v1/jobs", own), ("/v1/images/generations", other)] {
            let answer = served.post(path, &body);
            if answer.status == 202 {
                let ended = served.ended(answer.json()["id"].as_str().unwrap());
                assert_eq!(
                    (&ended["state"], &ended["error"]["code"]),
                    (&json!("failed"), &json!("bad_input")),
                    "{shown}"
                );
                continue;
            }
            assert!([400, 413].contains(&answer.status), "{shown}: {}", answer.status);
            let line: Value = answer.json()["error"]["message"].clone();
            assert!(line.as_str().unwrap().len() < 1000, "{shown}: {line}");
        }
    }
    assert_eq!(served.post("/api/v1/tokens", &json!({ "prompt": "a ".repeat(1 << 19) })).status, 400);
    assert_eq!(folders.files(), before);
}
