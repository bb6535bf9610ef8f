//! What goes wrong at the broker while jobs are there: a line on both sides says so, and the work goes on when it is mended.

use super::{Lines, Worker, alone, broker, files, front_with, queue, worker_options};
use crate::common::{Folders, Served, small};
use latent_server::nats::{BrokerLogin, QueueOptions};
use serde_json::{Value, json};

/// A configuration with so many bytes that the broker may store.
fn room(bytes: usize) -> String {
    format!("jetstream {{ store_dir: STORE, max_file_store: {bytes} }}")
}

/// The warnings of a job.
fn warnings(served: &Served, id: &str) -> Vec<String> {
    let job = served.get(&format!("/api/v1/jobs/{id}")).json();
    let lines = job["warnings"].as_array().unwrap_or_else(|| panic!("{job}")).iter();
    lines.map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// Waits until a job has a warning with these words.
fn until_warned(served: &Served, id: &str, words: &str) {
    while !warnings(served, id).iter().any(|line| line.contains(words)) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn jobs_and_images_wait_for_room_at_the_broker_and_go_on_when_there_is_some() {
    let rooms = [4_usize << 20, 16 << 20, 64 << 20];
    let Some(mut broker) = broker::start_with_config(&room(rooms[0])) else { return };
    let (folders, lines) = (Folders::new(), [(); 2].map(|()| Lines::default()));
    let served = front_with(&folders, queue(&broker.url()), &lines[0]);
    broker.client().fill(rooms[0]);
    let id = served.submit("txt2img", small("a sun"));
    let line = lines[0].until("the broker has no room left; make room on its disk");
    assert!(line.starts_with(&broker.url()) && line.ends_with("trying again"), "{line}");
    until_warned(&served, &id, "the broker has no room left");
    assert_eq!(served.get(&format!("/api/v1/jobs/{id}")).json()["state"], "queued");
    // Some brokers count what was removed until they are started again.
    broker.configure(&room(rooms[1]));
    broker.restart();
    lines[0].until("the broker takes what is sent again");
    while !warnings(&served, &id).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let worker = Worker::start_with_log(worker_options(&broker.url(), "one"), &lines[1]);
    assert_eq!(served.ended(&id)["state"], "done");
    drop(worker);
    // It is in the queue, and there is no room for its image.
    let mut other = broker.client();
    other.subscribe("latent.jobs.>");
    let id = served.submit("txt2img", small("a moon"));
    while !other.next().0.ends_with(&format!(".{id}.0")) {}
    other.fill(rooms[1]);
    let _worker = Worker::start_with_log(worker_options(&broker.url(), "two"), &lines[1]);
    lines[1].until("an image cannot be stored: the broker has no room left");
    assert_eq!(served.get(&format!("/api/v1/jobs/{id}")).json()["state"], "running");
    broker.configure(&room(rooms[2]));
    broker.restart();
    let ended = served.ended(&id);
    assert_eq!((&ended["state"], &ended["warnings"]), (&json!("done"), &json!([])), "{ended}");
    assert!(files(&folders, &ended) == alone("txt2img", &small("a moon")));
    // Nobody reads of it again and again.
    let count = |lines: &Lines| lines.all().iter().filter(|line| line.contains("no room left")).count();
    assert!(count(&lines[0]) <= 2 && count(&lines[1]) <= 3, "{lines:#?}");
}

#[cfg(unix)]
#[test]
fn a_login_that_is_revoked_is_a_line_and_work_goes_on_when_it_is_given_again() {
    let users = |names: &[&str]| {
        let user = |name: &&str| format!("{{ user: {name}, password: secret-of-{name} }}");
        let users: Vec<String> = names.iter().map(user).collect();
        format!("authorization {{ users: [ {} ] }}", users.join(", "))
    };
    let Some(mut broker) = broker::start_with_config(&users(&["front", "worker"])) else { return };
    let with = |name: &str| -> QueueOptions {
        let mut queue = queue(&broker.url());
        queue.login = BrokerLogin::User(name.into(), format!("secret-of-{name}"));
        queue
    };
    let (folders, lines) = (Folders::new(), [(); 2].map(|()| Lines::default()));
    let served = front_with(&folders, with("front"), &lines[0]);
    let mut options = worker_options(&broker.url(), "one");
    options.queue = with("worker");
    let worker = Worker::start_with_log(options, &lines[1]);
    let mut long = small("a sun");
    (long["steps"], long["width"], long["height"]) = (40.into(), 64.into(), 64.into());
    let id = served.submit("txt2img", long.clone());
    served.until_it_runs(&id);
    broker.reload(&users(&["front"]));
    lines[1].until("the broker refuses this user, password, token or key; trying again");
    let waiting = served.submit("txt2img", small("a moon"));
    broker.reload(&users(&["worker"]));
    lines[0].until("the broker refuses this user, password, token or key; trying again");
    let late = served.submit("txt2img", small("a star"));
    until_warned(&served, &late, "trying again");
    broker.reload(&users(&["front", "worker"]));
    for (id, options) in [(id, long), (waiting, small("a moon")), (late, small("a star"))] {
        let ended = served.ended(&id);
        assert_eq!(ended["state"], "done", "{ended}");
        assert!(files(&folders, &ended) == alone("txt2img", &options));
    }
    // Both end although nobody lets them in any more.
    let id = served.submit("txt2img", crate::common::endless());
    served.until_it_runs(&id);
    broker.reload(&users(&["nobody"]));
    drop(worker);
    served.interrupt();
    for lines in &lines {
        assert!(!lines.all().iter().any(|line| line.contains("secret-of")), "{:#?}", lines.all());
    }
}

#[test]
fn what_is_larger_than_the_broker_takes_is_sent_in_pieces_or_fails_with_the_limit() {
    let Some(mut broker) = broker::start_with_config("max_payload: 2048") else { return };
    let (folders, lines) = (Folders::new(), [(); 2].map(|()| Lines::default()));
    let served = front_with(&folders, queue(&broker.url()), &lines[0]);
    let worker = Worker::start_with_log(worker_options(&broker.url(), "one"), &lines[1]);
    let options = small(&"a red apple, ".repeat(300));
    let ended = served.ended(&served.submit("txt2img", options.clone()));
    assert_eq!(ended["state"], "done", "{ended}");
    let drawn = files(&folders, &ended);
    assert!(drawn[0].len() > 2048 && drawn == alone("txt2img", &options));
    drop(worker);
    // Too small for anything.
    broker.configure("max_payload: 256");
    broker.restart();
    let ended = served.ended(&served.submit("txt2img", small("a sun")));
    let line = ended["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(
        (&ended["state"], &ended["error"]["code"]),
        (&json!("failed"), &json!("too_large")),
        "{ended}"
    );
    assert!(
        line.ends_with("it is larger than the broker takes; raise its max_payload of 256 bytes"),
        "{line}"
    );
    lines[0].until("raise its max_payload of 256 bytes");
    broker.configure("");
    broker.restart();
    let _worker = Worker::start(&broker, "two");
    assert_eq!(served.ended(&served.submit("txt2img", small("a sun")))["state"], "done");
}

#[test]
fn a_worker_that_cannot_even_answer_does_so_when_the_broker_takes_messages_again() {
    let Some(mut broker) = broker::start(&[]) else { return };
    let (folders, lines) = (Folders::new(), Lines::default());
    let served = front_with(&folders, queue(&broker.url()), &Lines::default());
    // It makes the consumer, which takes a larger message.
    let worker = Worker::start(&broker, "first");
    assert_eq!(served.ended(&served.submit("txt2img", small("a sun")))["state"], "done");
    drop(worker);
    let mut other = broker.client();
    other.subscribe("latent.jobs.>");
    let id = served.submit("txt2img", small("a moon"));
    other.next();
    broker.configure("max_payload: 256");
    broker.restart();
    let _worker = Worker::start_with_log(worker_options(&broker.url(), "second"), &lines);
    let line =
        "a message cannot be stored: it is larger than the broker takes; raise its max_payload of 256 bytes";
    lines.until(line);
    broker.configure("");
    broker.restart();
    let ended = served.ended(&id);
    let line = ended["error"]["message"].as_str().unwrap_or_default();
    assert!(ended["state"] == "failed" && line.contains("an image cannot be stored"), "{ended}");
    assert_eq!(served.ended(&served.submit("txt2img", small("a moon")))["state"], "done");
}

#[test]
fn a_job_whose_input_was_damaged_or_lost_fails_with_a_line_on_both_sides() {
    let Some(broker) = broker::start(&[]) else { return };
    let lines = Lines::default();
    let _worker = Worker::start_with_log(worker_options(&broker.url(), "one"), &lines);
    lines.until("waits for jobs");
    let mut other = broker.client();
    other.subscribe("latent.results.elsewhere.>");
    let bytes = other.publish_damaged_object();
    let cases = [
        ("damaged", bytes.len(), "damaged: what was sent is damaged: its length or its SHA-256"),
        ("lost", 7, "lost: is not in the object store any more"),
        ("large", 1 << 40, "large: has 1099511627776 bytes, more than"),
    ];
    for (job, (object, length, expected)) in cases.iter().enumerate() {
        let message = json!({
            "schema": 3, "verb": "txt2img", "seed": 7, "preview_interval": 0, "files": [], "named_loras": [],
            "work": { "object": { "name": object, "bytes": length, "sha256": "00" } }, "folders": [null, null],
        });
        other.publish(&format!("latent.jobs.any.demo.elsewhere.{job}.0"), message.to_string().as_bytes());
        other.publish("latent.wake.any.demo", b"");
        let answer: Value = serde_json::from_slice(&other.next().1).unwrap();
        let line = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(line.starts_with(expected), "{expected}: {answer}");
        lines.until(&format!("job elsewhere.{job}.0 failed: {expected}"));
    }
}
