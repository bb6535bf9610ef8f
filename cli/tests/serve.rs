//! `latent serve`: what only the program itself can show. The server's own tests are in its crate.

#![cfg(feature = "server")]

use crate::common::Room;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// A server in a process of its own, which is killed at the end.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(room: &Room) -> Serving {
        let args = ["serve", "--listen", "127.0.0.1:0", "--output-dir", "images", "--state-dir", "state"];
        let mut command = room.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        Serving { address: address.expect(&line).to_owned(), child }
    }

    /// Sends a request; the status and the body.
    fn send(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// All jobs, newest first.
    fn jobs(&self) -> Vec<serde_json::Value> {
        let list: serde_json::Value = serde_json::from_str(&self.send("GET /api/v1/jobs", "").1).unwrap();
        list["jobs"].as_array().unwrap().clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // On Unix this is SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_accepted_job_is_lost_or_drawn_twice_when_the_server_is_killed() {
    let room = Room::new();
    let serving = Serving::start(&room);
    for seed in 0..6 {
        let options =
            format!(r#"{{"prompt": "a sun", "width": 32, "height": 32, "steps": 2, "seed": {seed}}}"#);
        let (status, body) =
            serving.send("POST /api/v1/jobs", &format!(r#"{{"verb": "txt2img", "options": {options}}}"#));
        assert_eq!(status, 202, "{body}");
    }
    // In the middle: one is written, at least.
    let images = || {
        std::fs::read_dir(room.path("images"))
            .map_or(0, |entries| entries.flatten().filter(|entry| entry.path().extension().is_some()).count())
    };
    while images() == 0 {
        std::thread::yield_now();
    }
    drop(serving);
    let serving = Serving::start(&room);
    let jobs = loop {
        let jobs = serving.jobs();
        if jobs.iter().all(|job| job["state"] == "done") {
            break jobs;
        }
        assert!(jobs.iter().all(|job| job["state"] != "failed"), "{jobs:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let seeds: Vec<u64> = jobs.iter().rev().map(|job| job["images"][0]["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [0, 1, 2, 3, 4, 5]);
    assert!(jobs.iter().all(|job| job["images"].as_array().unwrap().len() == 1));
    assert_eq!(images(), 6);
}

#[test]
fn an_address_that_others_reach_needs_a_key_or_a_word() {
    let room = Room::new();
    room.refuses(&["serve", "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "--api-key", "--no-auth"]);
    room.refuses(&["serve", "--models-dir", "nowhere"], &["--models-dir: nowhere: no such folder"]);
    room.refuses(&["serve", "--listen", "example"], &["127.0.0.1:7860"]);
    let empty = room.file("key", b"\n");
    room.refuses(&["serve", "--api-key-file", empty.to_str().unwrap()], &["holds no key"]);
}

#[cfg(not(feature = "nats"))]
#[test]
fn a_queue_is_refused_by_a_program_without_it_with_the_feature_that_it_needs() {
    let room = Room::new();
    let lines: [(&[&str], &str); 5] = [
        (&["serve", "--queue", "nats://broker"], "--queue"),
        (&["serve", "--queue-user=me"], "--queue-user"),
        (&["serve", "--require-isa", "avx2"], "--require-isa"),
        (&["worker", "--queue", "nats://broker"], "worker"),
        (&["workers"], "workers"),
    ];
    for (line, given) in lines {
        room.refuses(line, &[&format!("{given}: this program was built without"), "--features nats"]);
    }
    let mut command = room.command(&["serve", "--output-dir", "images", "--state-dir", "state"]);
    let refused = command.env("LATENT_QUEUE", "nats://me:secret@broker").output().unwrap();
    let line = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{line}");
    assert!(
        line.contains("LATENT_QUEUE: this program was built without") && !line.contains("secret"),
        "{line}"
    );
}
