//! A broker on a free port, with its store in a folder.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A broker, which is killed when this is dropped.
pub(super) struct Broker {
    port: u16,
    folder: TempDir,
    flags: Vec<String>,
    /// What its configuration file has beside the store.
    config: String,
    process: Option<Child>,
}

/// The subject of an object that nobody asked for.
const FILLER: &str = "$O.LATENT_FILES.C.filler";

/// A program of this name may be where users do not look.
const PROGRAMS: [&str; 2] = ["nats-server", "/usr/sbin/nats-server"];

/// A broker, or `None` where there is no such program.
pub(super) fn start(flags: &[&str]) -> Option<Broker> {
    start_with(flags, "")
}

/// The same with a configuration file.
pub(super) fn start_with_config(config: &str) -> Option<Broker> {
    start_with(&[], config)
}

fn start_with(flags: &[&str], config: &str) -> Option<Broker> {
    let is_there = |program: &&str| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    if !PROGRAMS.iter().any(is_there) {
        assert!(std::env::var_os("LATENT_NATS_REQUIRED").is_none(), "there is no nats-server");
        println!("SKIPPED: there is no nats-server");
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let (folder, config) = (TempDir::new().unwrap(), config.to_owned());
    let mut broker = Broker { port, folder, flags, config, process: None };
    broker.restart();
    Some(broker)
}

impl Broker {
    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it, if it runs.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // On Unix this is SIGKILL.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Its configuration file.
    fn config_file(&self) -> PathBuf {
        self.folder.path().join("broker.conf")
    }

    /// Changes its configuration, which is read with the next start. In it, STORE stands for the folder of its store.
    pub(super) fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.config);
        // One that has JetStream by a flag ends it when its configuration is read anew.
        let store = if config.contains("jetstream {") { "" } else { "jetstream { store_dir: STORE }\n" };
        let path = format!("{:?}", self.folder.path().join("store"));
        std::fs::write(self.config_file(), format!("{store}{config}").replace("STORE", &path)).unwrap();
    }

    /// Changes its configuration while it runs.
    #[cfg(unix)]
    pub(super) fn reload(&mut self, config: &str) {
        use rustix::process::{Pid, Signal, kill_process};
        self.configure(config);
        let process = self.process.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), Signal::HUP).unwrap();
    }

    /// Kills it, if it runs, and starts it with the same store.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.configure(&self.config.clone());
        let spawn = |program: &&str| {
            let mut command = Command::new(program);
            command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-c"]).arg(self.config_file());
            command.args(&self.flags).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        };
        self.process = Some(PROGRAMS.iter().find_map(spawn).unwrap());
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A client that writes the protocol by hand.
    pub(super) fn client(&self) -> RawClient {
        self.client_with(&json!({}))
    }

    /// The same with what it says of itself, such as a user.
    pub(super) fn client_with(&self, login: &Value) -> RawClient {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let mut client = RawClient { stream: BufReader::new(stream), messages: VecDeque::new() };
        let mut about = json!({ "verbose": false, "pedantic": false });
        about.as_object_mut().unwrap().extend(login.as_object().unwrap().clone());
        client.send(format!("CONNECT {about}\r\n").as_bytes());
        client.settle();
        client
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client of the broker's protocol.
pub(super) struct RawClient {
    stream: BufReader<TcpStream>,
    /// Messages that came while something else was waited for.
    messages: VecDeque<(String, Vec<u8>)>,
}

impl RawClient {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads a line of the protocol, and what belongs to it; whether it answers a ping.
    fn read(&mut self) -> bool {
        let mut line = String::new();
        assert!(self.stream.read_line(&mut line).unwrap() > 0, "the broker has closed the connection");
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |back: usize| words[words.len() - back].parse::<usize>().unwrap();
        let (headers, all) = match words[0] {
            "MSG" => (0, number(1)),
            "HMSG" => (number(2), number(1)),
            "PING" => {
                self.send(b"PONG\r\n");
                return false;
            }
            other => return other == "PONG",
        };
        let mut bytes = vec![0; all + 2];
        self.stream.read_exact(&mut bytes).unwrap();
        self.messages.push_back((words[1].to_owned(), bytes[headers..all].to_vec()));
        false
    }

    /// Waits until the broker has seen all that was sent.
    fn settle(&mut self) {
        self.send(b"PING\r\n");
        while !self.read() {}
    }

    /// Publishes the object `damaged` as the store has it, of other bytes than it announces: the bytes.
    pub(super) fn publish_damaged_object(&mut self) -> &'static [u8] {
        let bytes = b"what was sent";
        let meta = json!({
            "name": "damaged", "bucket": "LATENT_FILES", "nuid": "chunks", "size": bytes.len(), "chunks": 1,
            "digest": format!("SHA-256={}", URL_SAFE.encode([7; 32])), "mtime": "2026-11-29T00:00:00Z",
        });
        self.publish("$O.LATENT_FILES.C.chunks", bytes);
        self.publish(
            &format!("$O.LATENT_FILES.M.{}", URL_SAFE.encode("damaged")),
            meta.to_string().as_bytes(),
        );
        bytes
    }

    pub(super) fn publish(&mut self, subject: &str, bytes: &[u8]) {
        self.send(format!("PUB {subject} {}\r\n", bytes.len()).as_bytes());
        self.send(bytes);
        self.send(b"\r\n");
        self.settle();
    }

    /// Stores bytes until the broker has no room left. Its limit is of so many.
    pub(super) fn fill(&mut self, bytes: usize) {
        let chunk = vec![0; 512 << 10];
        for _ in 0..=bytes.div_ceil(chunk.len()) {
            self.publish(FILLER, &chunk);
        }
    }

    /// The same with the subject of the answer.
    pub(super) fn request(&mut self, subject: &str, reply: &str, bytes: &[u8]) {
        self.send(format!("PUB {subject} {reply} {}\r\n", bytes.len()).as_bytes());
        self.send(bytes);
        self.send(b"\r\n");
        self.settle();
    }

    pub(super) fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\n").as_bytes());
        self.settle();
    }

    /// The next message: its subject and its bytes, without headers.
    pub(super) fn next(&mut self) -> (String, Vec<u8>) {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            self.read();
        }
    }
}
