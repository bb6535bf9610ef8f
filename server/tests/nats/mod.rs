//! One queue for several machines: a real `nats-server`, fronts and workers on this machine. Without that program a test says
//! that it is skipped; with `LATENT_NATS_REQUIRED` it fails.

mod broker;
mod draw;
mod ended;
mod faults;
mod login;
mod refused;
mod survives;
mod upscale;

use crate::common::{Folders, Served};
use broker::Broker;
use latent_app::device::{DeviceChoice, DeviceOptions};
use latent_server::nats::{QueueOptions, QueueWorker, QueueWorkerOptions, WorkerInfo, list_workers};
use latent_server::{ServerLog, ShutdownHandle};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The variable with the broker that a worker's process is to draw for.
const WORKER: &str = "LATENT_TEST_WORKER";

/// Time after which a test that hangs ends.
const HANGS: Duration = Duration::from_secs(300);

/// How to reach a broker, with times that are short enough for a test.
pub(crate) fn queue(url: &str) -> QueueOptions {
    let mut queue = QueueOptions::new(url).unwrap();
    queue.ack_wait = Duration::from_millis(600);
    queue.max_deliveries = 2;
    queue
}

/// Lines that a program logged.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn log(&self) -> ServerLog {
        let lines = self.clone();
        Arc::new(move |line: &str| lines.0.lock().unwrap().push(line.to_owned()))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line that has this in it, and gives the first.
    fn until(&self, words: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(line) = self.all().iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            assert!(began.elapsed() < HANGS, "{words:?} is not logged: {:#?}", self.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A server whose jobs go to a broker.
fn front(folders: &Folders, broker: &Broker) -> Served {
    front_with(folders, queue(&broker.url()), &Lines::default())
}

/// The same with other settings of the queue.
fn front_with(folders: &Folders, queue: QueueOptions, lines: &Lines) -> Served {
    let mut options = folders.options();
    options.queue = Some(queue);
    Served::start_with_log(options, lines.log())
}

fn worker_options(url: &str, name: &str) -> QueueWorkerOptions {
    let mut options = QueueWorkerOptions::new(queue(url));
    options.name = Some(name.into());
    options.models_dir = Some(std::env::temp_dir().join("latent-no-models"));
    options.devices = vec![DeviceOptions::new(Some(DeviceChoice::Cpu), None, None)];
    options
}

/// A worker in a thread, which is asked to stop when this is dropped.
struct Worker(ShutdownHandle, Option<JoinHandle<()>>);

impl Worker {
    fn start(broker: &Broker, name: &str) -> Worker {
        Worker::start_with(worker_options(&broker.url(), name))
    }

    fn start_with(options: QueueWorkerOptions) -> Worker {
        Worker::start_with_log(options, &Lines::default())
    }

    fn start_with_log(options: QueueWorkerOptions, lines: &Lines) -> Worker {
        let worker = QueueWorker::connect(options, lines.log()).unwrap();
        let stop = worker.shutdown_handle();
        Worker(stop, Some(std::thread::spawn(move || worker.run().unwrap())))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.request();
        let ended = self.1.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// A worker in a process of its own, which is killed when this is dropped.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(broker: &Broker, name: &str) -> WorkerProcess {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "nats::is_a_worker_if_it_is_started_as_one", "--nocapture"]);
        program.env(WORKER, format!("{} {name}", broker.url())).stdout(Stdio::null()).stderr(Stdio::null());
        WorkerProcess(program.spawn().unwrap())
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // On Unix this is SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a usual run of the tests this shows that no test is a worker by mistake.
#[test]
fn is_a_worker_if_it_is_started_as_one() {
    if let Ok(variable) = std::env::var(WORKER) {
        let (url, name) = variable.split_once(' ').unwrap();
        let worker = QueueWorker::connect(worker_options(url, name), Arc::new(|_: &str| {})).unwrap();
        worker.run().unwrap();
    }
}

/// Waits until the workers of a broker are so; it is asked again and again.
fn until_workers(broker: &Broker, are: impl Fn(&[WorkerInfo]) -> bool) {
    while !are(&list_workers(queue(&broker.url())).unwrap_or_default()) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The files of a job's images, in their order.
fn files(folders: &Folders, ended: &Value) -> Vec<Vec<u8>> {
    let names = ended["images"].as_array().unwrap_or_else(|| panic!("{ended}")).iter();
    let read =
        |image: &Value| std::fs::read(folders.path("images").join(image["name"].as_str().unwrap())).unwrap();
    names.map(read).collect()
}

/// The files of a job on a machine by itself.
fn alone(verb: &str, options: &Value) -> Vec<Vec<u8>> {
    alone_in(&Folders::new(), verb, options)
}

/// The same on a machine whose models are in these folders.
fn alone_in(folders: &Folders, verb: &str, options: &Value) -> Vec<Vec<u8>> {
    let served = Served::start(folders.options());
    let ended = served.ended(&served.submit(verb, options.clone()));
    assert_eq!(ended["state"], "done", "{ended}");
    files(folders, &ended)
}
