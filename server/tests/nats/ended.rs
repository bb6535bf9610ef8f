//! Jobs that end before they are drawn.

use super::{Worker, WorkerProcess, broker, front, until_workers};
use crate::common::{Folders, endless, small};
use serde_json::json;

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

fn endless_image() -> serde_json::Value {
    let mut options = endless();
    options["batch_count"] = 1.into();
    options
}
