//! Jobs that end before they are drawn.

use super::{Lines, Worker, WorkerProcess, broker, front, front_with, queue, until_workers, worker_options};
use crate::common::{Folders, endless, small};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_job_that_is_cancelled_ends_at_once_and_frees_its_worker() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    // One that waits.
    let id = served.submit("txt2img", small("a sun"));
    assert_eq!(served.delete(&format!("/api/v1/jobs/{id}")).json()["state"], "cancelled");
    let _worker = Worker::start(&broker, "one");
    // Parts of one that runs, and of others that do not yet.
    let mut options = endless();
    options["batch_count"] = 6.into();
    let id = served.submit("txt2img", options);
    served.until_it_runs(&id);
    assert_eq!(served.delete(&format!("/api/v1/jobs/{id}")).json()["state"], "cancelled");
    assert_eq!(served.delete(&format!("/api/v1/jobs/{id}")).status, 409);
    let next = served.ended(&served.submit("txt2img", small("a moon")));
    assert_eq!((&next["state"], folders.images().len()), (&json!("done"), 1), "{next}");
    until_workers(&broker, |workers| workers.iter().all(|worker| worker.drawing.is_empty()));
}

#[test]
fn a_job_that_ends_its_workers_is_set_aside_with_the_reason() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let mut dead = broker.client();
    dead.subscribe("latent.dead.>");
    let mut events = broker.client();
    events.subscribe("latent.events.>");
    let id = served.submit("txt2img", endless_image());
    for name in ["first", "second"] {
        let worker = WorkerProcess::start(&broker, name);
        while !String::from_utf8(events.next().1).unwrap().contains(name) {}
        drop(worker);
    }
    let _third = Worker::start(&broker, "third");
    let ended = served.ended(&id);
    let line = ended["error"]["message"].as_str().unwrap_or_default();
    assert!(ended["state"] == "failed" && line.contains("handed to workers 2 times"), "{ended}");
    let (subject, message) = dead.next();
    let message: serde_json::Value = serde_json::from_slice(&message).unwrap();
    assert!(subject.ends_with(&format!(".{id}.0")) && message["reason"] == line, "{message}");
    // The worker lives.
    assert_eq!(served.ended(&served.submit("txt2img", small("a moon")))["state"], "done");
}

/// Workers that are cut off do not end, so that what they have is no danger to others.
#[test]
fn a_job_whose_workers_were_cut_off_and_live_is_drawn_however_often_it_was_handed_out() {
    let Some(broker) = broker::start(&[]) else { return };
    let mut settings = queue(&broker.url());
    // A sign of life counts for half of it.
    settings.ack_wait = Duration::from_secs(2);
    let folders = Folders::new();
    let served = front_with(&folders, settings.clone(), &Lines::default());
    let options = || {
        let mut options = worker_options(&broker.url(), "real");
        options.queue = settings.clone();
        options
    };
    // It makes the consumer.
    let worker = Worker::start_with(options());
    assert_eq!(served.ended(&served.submit("txt2img", small("a sun")))["state"], "done");
    drop(worker);
    let id = served.submit("txt2img", small("a moon"));
    let mut cut = broker.client();
    cut.subscribe("cut.off");
    let next = json!({ "batch": 1, "expires": 600_000_000_000_u64 }).to_string();
    let mut key = String::new();
    for _ in 0..=settings.max_deliveries {
        cut.request("$JS.API.CONSUMER.MSG.NEXT.LATENT_JOBS.any-demo", "cut.off", next.as_bytes());
        let subject = cut.next().0;
        key = subject.splitn(5, '.').last().unwrap().to_owned();
    }
    assert!(key.ends_with(&format!(".{id}.0")), "{key}");
    cut.publish(&format!("$KV.LATENT_RETURNS.{key}.claims"), br#"["one", "two"]"#);
    let is_drawn = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut cut = broker.client();
            // A test that fails does not wait for ever.
            for _ in 0..10_000 {
                if is_drawn.load(Ordering::Relaxed) {
                    return;
                }
                for name in ["one", "two"] {
                    let sign = json!({
                        "schema": 3, "name": name, "instance": name, "version": "0", "isa": "avx2", "devices": [], "models": {},
                        "loaded": [], "drawing": [], "done": 0,
                    });
                    cut.publish(&format!("$KV.LATENT_WORKERS.{name}"), sign.to_string().as_bytes());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _worker = Worker::start_with(options());
        let ended = served.ended(&id);
        is_drawn.store(true, Ordering::Relaxed);
        ended
    });
    assert_eq!(ended["state"], "done", "{ended}");
}

fn endless_image() -> serde_json::Value {
    let mut options = endless();
    options["batch_count"] = 1.into();
    options
}
