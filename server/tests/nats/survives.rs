//! What ends in the middle, and that each job ends once all the same.

use super::{Worker, WorkerProcess, alone, broker, files, front, until_workers};
use crate::common::{Folders, small};
use serde_json::{Value, json};

/// A job that takes long enough to be interrupted.
fn long(prompt: &str) -> Value {
    let mut options = small(prompt);
    (options["steps"], options["width"], options["height"]) = (10.into(), 64.into(), 64.into());
    options
}

#[test]
fn the_job_of_a_worker_that_is_killed_is_drawn_by_another_once() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let first = WorkerProcess::start(&broker, "first");
    let id = served.submit("txt2img", long("a sun"));
    served.until_it_runs(&id);
    drop(first);
    let _second = Worker::start(&broker, "second");
    let ended = served.ended(&id);
    assert_eq!((&ended["state"], ended["images"].as_array().unwrap().len()), (&json!("done"), 1), "{ended}");
    assert!(files(&folders, &ended) == alone("txt2img", &long("a sun")));
    assert_eq!(folders.images().len(), 1);
    let metrics = String::from_utf8(served.get("/metrics").bytes).unwrap();
    assert!(metrics.contains("latent_queue_redelivered_total 1\n"), "{metrics}");
}

#[test]
fn a_worker_that_is_asked_to_stop_gives_its_job_back_at_once() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let mut events = broker.client();
    events.subscribe("latent.events.>");
    let id = served.submit("txt2img", long("a sun"));
    // As often as a job that ends its workers would be set aside.
    for name in ["first", "second", "third"] {
        let worker = Worker::start(&broker, name);
        while !String::from_utf8(events.next().1).unwrap().contains(name) {}
        drop(worker);
    }
    let _last = Worker::start(&broker, "last");
    let ended = served.ended(&id);
    assert_eq!(ended["state"], "done", "{ended}");
    assert!(files(&folders, &ended) == alone("txt2img", &long("a sun")));
}

#[test]
fn a_front_that_is_started_again_takes_what_was_drawn_meanwhile() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let ids = ["a sun", "a moon"].map(|prompt| served.submit("txt2img", small(prompt)));
    let mut other = broker.client();
    other.subscribe("latent.results.>");
    // Both are in the queue by now, or will be after the next start.
    served.interrupt();
    let worker = Worker::start(&broker, "one");
    let served = front(&folders, &broker);
    let ends = ids.each_ref().map(|id| served.ended(id));
    for (prompt, ended) in ["a sun", "a moon"].iter().zip(&ends) {
        assert_eq!(ended["state"], "done", "{ended}");
        assert!(files(&folders, ended) == alone("txt2img", &small(prompt)));
    }
    // Each was drawn once.
    let (first, second) = (other.next().0, other.next().0);
    assert_ne!(first, second);
    until_workers(&broker, |workers| workers.iter().any(|worker| worker.done == 2));
    drop(worker);
}

#[test]
fn a_broker_that_is_killed_and_started_again_loses_no_job() {
    let Some(mut broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let _worker = Worker::start(&broker, "one");
    let ids: Vec<String> = (0..3).map(|_| served.submit("txt2img", long("a sun"))).collect();
    served.until_it_runs(&ids[0]);
    broker.restart();
    let late = served.submit("txt2img", long("a sun"));
    let expected = alone("txt2img", &long("a sun"));
    for id in ids.iter().chain([&late]) {
        let ended = served.ended(id);
        assert_eq!(ended["state"], "done", "{ended}");
        assert!(files(&folders, &ended) == expected, "{ended}");
    }
    assert_eq!(folders.images().len(), 4);
}
