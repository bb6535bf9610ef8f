//! `latent worker` and `latent workers`: machines that draw jobs of one queue.

use crate::args::{WorkerArgs, WorkersArgs};
use crate::console::{self, print};
use crate::interrupt;
use crate::server_options::{app_error, queue_options};
use latent_app::AppError;
use latent_loader::Plain;
use latent_server::nats::{QueueWorker, QueueWorkerOptions, WorkerInfo, list_workers};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Draws jobs until it is asked to stop.
pub(crate) fn work(args: &WorkerArgs) -> Result<(), AppError> {
    let machine = &args.machine;
    machine.check()?;
    let mut queue = queue_options(&args.queue, &args.login)?;
    queue.ack_wait = Duration::from_secs(args.ack_wait);
    queue.max_deliveries = args.max_deliveries;
    let mut options = QueueWorkerOptions::new(queue);
    options.name.clone_from(&args.name);
    options.models_dir.clone_from(&machine.models_dir);
    options.lora_dir.clone_from(&machine.lora_dir);
    options.embd_dir.clone_from(&machine.embd_dir);
    options.wildcards.clone_from(&machine.wildcards);
    options.devices = machine.devices();
    options.threads = machine.threads;
    options.max_memory = machine.max_memory();
    let log = |line: &str| console::hint(format_args!("latent: {}", Plain(line)));
    let worker = QueueWorker::connect(options, Arc::new(log)).map_err(app_error)?;
    let stop = worker.shutdown_handle();
    interrupt::listen_with(move || stop.request())?;
    worker.run().map_err(app_error)
}

/// Lists the workers.
pub(crate) fn list(args: &WorkersArgs) -> Result<(), AppError> {
    let workers = list_workers(queue_options(&args.queue, &args.login)?).map_err(app_error)?;
    if args.json {
        let json = serde_json::to_string_pretty(&workers).expect("it is plain data");
        return print(&format!("{json}\n"));
    }
    print(&table(&workers))
}

/// A line for each worker.
fn table(workers: &[WorkerInfo]) -> String {
    if workers.is_empty() {
        return "no worker\n".to_owned();
    }
    let width = workers.iter().map(|worker| worker.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for worker in workers {
        let (devices, models) = (worker.devices.join(", "), worker.models.len());
        let state = if worker.drawing.is_empty() { "idle".to_owned() } else { worker.drawing.join(", ") };
        let line = format!(
            "{:width$}  {devices} ({}), files: {models}, drawn: {}, heard of {} s ago, {state}",
            worker.name, worker.isa, worker.done, worker.heard_seconds_ago
        );
        let _ = writeln!(text, "{}", Plain(&line));
    }
    text
}
