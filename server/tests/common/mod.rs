//! A server of its own for each test, and a small client.

#[cfg(unix)]
pub(crate) mod process;

use latent_app::device::{DeviceChoice, DeviceOptions};
use latent_server::{Server, ServerLog, ServerOptions, ShutdownHandle};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Time after which a test that hangs ends.
const HANGS: Duration = Duration::from_secs(300);

/// Folders that outlive a server.
pub(crate) struct Folders(TempDir);

impl Folders {
    pub(crate) fn new() -> Folders {
        Folders(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A server on a free port that draws on the CPU, whose models are those in `models`.
    pub(crate) fn options(&self) -> ServerOptions {
        Folders::options_in(self.0.path())
    }

    /// The same for folders in another one.
    pub(crate) fn options_in(root: &std::path::Path) -> ServerOptions {
        let mut options = ServerOptions::new(root.join("images"), root.join("state"));
        options.listen = "127.0.0.1:0".parse().unwrap();
        std::fs::create_dir_all(root.join("models")).unwrap();
        options.models_dir = Some(root.join("models"));
        options.devices = vec![DeviceOptions::new(Some(DeviceChoice::Cpu), None, None)];
        options
    }

    /// Every file of images, models and state by its path, with its length. The queue is one whatever its length.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        fn walk(folder: &std::path::Path, found: &mut Vec<(String, u64)>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    walk(&path, found);
                } else {
                    let bytes =
                        if path.ends_with("queue.redb") { 0 } else { entry.metadata().unwrap().len() };
                    found.push((path.to_str().unwrap().to_owned(), bytes));
                }
            }
        }
        let mut found = Vec::new();
        walk(self.0.path(), &mut found);
        found.sort();
        found
    }

    /// Names of the images.
    pub(crate) fn images(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("images")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

/// A server that runs in a thread, or in a process of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    runner: Option<Runner>,
}

enum Runner {
    Thread(ShutdownHandle, JoinHandle<()>),
    #[cfg(unix)]
    Process(process::ServerProcess),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl Served {
    pub(crate) fn start(options: ServerOptions) -> Served {
        Served::start_with_log(options, Arc::new(|_| {}))
    }

    pub(crate) fn start_with_log(options: ServerOptions, log: ServerLog) -> Served {
        let server = Server::bind(options).unwrap();
        let (address, stop) = (server.address(), server.shutdown_handle());
        let thread = std::thread::spawn(move || server.run(log).unwrap());
        Served { address, runner: Some(Runner::Thread(stop, thread)) }
    }

    /// Waits for the jobs that run, and ends.
    pub(crate) fn drain(mut self) {
        self.end(1);
    }

    /// Interrupts the jobs that run, and ends.
    pub(crate) fn interrupt(mut self) {
        self.end(2);
    }

    /// Asks so many times to stop, and waits for the end. A process is killed.
    fn end(&mut self, times: usize) {
        match self.runner.take() {
            Some(Runner::Thread(stop, thread)) => {
                (0..times).for_each(|_| stop.request());
                let ended = thread.join();
                // A test that failed has said so.
                assert!(ended.is_ok() || std::thread::panicking());
            }
            #[cfg(unix)]
            Some(Runner::Process(process)) => drop(process),
            None => {}
        }
    }

    /// Sends a request with headers, and gives the answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.try_send(method, path, headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same with a server that may end meanwhile.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(HANGS));
        let agent: ureq::Agent = config.build().into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if body.is_empty() && method != "POST" {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(request.body(body).unwrap())
        };
        let mut answer = answer?;
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()));
        let (status, headers) = (answer.status().as_u16(), headers.collect());
        let mut bytes = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut bytes)?;
        Ok(Answer { status, headers, bytes })
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Submits a job that must be accepted; its number.
    #[track_caller]
    pub(crate) fn submit(&self, verb: &str, options: Value) -> String {
        let answer = self.post("/api/v1/jobs", &json!({ "verb": verb, "options": options }));
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The events of a job until its end: their names and data.
    pub(crate) fn events(&self, id: &str) -> Vec<(String, Value)> {
        read_events(&mut self.open(&format!("/api/v1/jobs/{id}/events")))
    }

    /// Waits until a job runs.
    pub(crate) fn until_it_runs(&self, id: &str) {
        while self.get(&format!("/api/v1/jobs/{id}")).json()["state"] == "queued" {
            std::thread::yield_now();
        }
    }

    /// Opens a connection that goes on being read.
    pub(crate) fn open(&self, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        BufReader::new(stream)
    }

    /// Waits for the end of a job; how it is then.
    pub(crate) fn ended(&self, id: &str) -> Value {
        self.events(id).pop().unwrap().1
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end(2);
    }
}

/// The events of a job until its end.
pub(crate) fn read_events(lines: &mut impl BufRead) -> Vec<(String, Value)> {
    let (mut events, mut name) = (Vec::new(), String::new());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(event) = line.trim_end().strip_prefix("event: ") {
            event.clone_into(&mut name);
        } else if let Some(data) = line.trim_end().strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
            if matches!(name.as_str(), "done" | "failed" | "cancelled") {
                break;
            }
        }
        line.clear();
    }
    events
}

/// A small image that is the same everywhere.
pub(crate) fn small(prompt: &str) -> Value {
    json!({ "prompt": prompt, "width": 32, "height": 32, "steps": 2, "seed": 7 })
}

/// The same with so many steps that it does not end by itself in a test.
pub(crate) fn endless() -> Value {
    json!({ "prompt": "a sun", "width": 64, "height": 64, "steps": 1000, "batch_count": 1000, "seed": 7 })
}
