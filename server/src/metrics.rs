//! Counters in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or the current value of something.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes from it.
    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of a queue that several machines share.
#[derive(Debug, Default)]
pub struct SharedQueueMetrics {
    /// Whether there is one: 1.
    pub is_used: Counter,
    /// Parts of jobs that wait or are drawn, of all servers.
    pub depth: Counter,
    /// Parts that were set aside.
    pub dead: Counter,
    /// Parts that were handed out once more.
    pub redelivered: Counter,
    /// Milliseconds that jobs waited for a worker.
    pub waited_ms: Counter,
    /// Milliseconds that workers drew.
    pub worker_ms: Counter,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Jobs accepted.
    pub accepted: Counter,
    /// Jobs whose images are written.
    pub done: Counter,
    /// Jobs that failed.
    pub failed: Counter,
    /// Jobs that were cancelled.
    pub cancelled: Counter,
    /// Images written.
    pub images: Counter,
    /// Milliseconds in which jobs ran.
    pub busy_ms: Counter,
    /// Requests answered.
    pub requests: Counter,
    /// Requests refused for their key, host or origin.
    pub refused: Counter,
    /// Connections that are open.
    pub connections: Counter,
    /// What is counted of a queue that several machines share.
    pub shared_queue: SharedQueueMetrics,
}

impl Metrics {
    /// The text that Prometheus reads; `queued` and `running` are jobs.
    #[must_use]
    pub fn text(&self, queued: usize, running: usize) -> String {
        let mut out = String::new();
        let mut metric = |name: &str, kind: &str, about: &str, values: &[(&str, f64)]| {
            let _ = writeln!(out, "# HELP latent_{name} {about}\n# TYPE latent_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "latent_{name}{labels} {value}");
            }
        };
        let of = |counter: &Counter| counter.get() as f64;
        let phases = [
            ("{state=\"done\"}", of(&self.done)),
            ("{state=\"failed\"}", of(&self.failed)),
            ("{state=\"cancelled\"}", of(&self.cancelled)),
        ];
        metric("jobs_accepted_total", "counter", "Jobs accepted", &[("", of(&self.accepted))]);
        metric("jobs_ended_total", "counter", "Jobs that ended, by how", &phases);
        let jobs = [("{state=\"queued\"}", queued as f64), ("{state=\"running\"}", running as f64)];
        metric("jobs", "gauge", "Jobs that wait and that run", &jobs);
        metric("images_total", "counter", "Images written", &[("", of(&self.images))]);
        let busy = of(&self.busy_ms) / 1000.0;
        metric("busy_seconds_total", "counter", "Time in which jobs ran", &[("", busy)]);
        metric("http_requests_total", "counter", "Requests answered", &[("", of(&self.requests))]);
        let refused = of(&self.refused);
        metric("http_refused_total", "counter", "Requests refused for key, host or origin", &[("", refused)]);
        metric("http_connections", "gauge", "Connections that are open", &[("", of(&self.connections))]);
        self.shared_queue.write(&mut metric);
        out
    }
}

/// Writes a metric: its name, its kind, what it is, and its values with their labels.
type MetricWriter<'a> = dyn FnMut(&str, &str, &str, &[(&str, f64)]) + 'a;

impl SharedQueueMetrics {
    fn write(&self, metric: &mut MetricWriter<'_>) {
        if self.is_used.get() == 0 {
            return;
        }
        let (of, seconds) = (|own: &Counter| own.get() as f64, |own: &Counter| own.get() as f64 / 1000.0);
        metric("queue_depth", "gauge", "Parts of jobs in the shared queue", &[("", of(&self.depth))]);
        metric("queue_dead", "gauge", "Parts of jobs that were set aside", &[("", of(&self.dead))]);
        let redelivered = of(&self.redelivered);
        metric("queue_redelivered_total", "counter", "Parts handed out once more", &[("", redelivered)]);
        let waited = seconds(&self.waited_ms);
        metric(
            "queue_wait_seconds_total",
            "counter",
            "Time in which jobs waited for a worker",
            &[("", waited)],
        );
        let drew = seconds(&self.worker_ms);
        metric("worker_seconds_total", "counter", "Time in which workers drew", &[("", drew)]);
    }
}
