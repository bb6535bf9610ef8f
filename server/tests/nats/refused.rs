//! What is refused: other versions, what was damaged on its way, and those who have no right to the queue.

use super::{Lines, Worker, broker, front, front_with, queue, worker_options};
use crate::common::{Folders, small};
use latent_server::Server;
use latent_server::nats::{BrokerLogin, list_workers};
use serde_json::{Value, json};

/// The name of a front in subjects.
pub(super) fn name(folders: &Folders) -> String {
    let salt = std::fs::read(folders.path("state").join("salt")).unwrap();
    latent_app::hash::of_bytes(&salt)[..12].to_owned()
}

fn result(schema: u32, images: Value) -> Vec<u8> {
    let result = json!({
        "schema": schema, "worker": "other", "took_ms": 1, "deliveries": 1, "images": images, "warnings": [], "error": null,
    });
    result.to_string().into_bytes()
}

#[test]
fn messages_of_another_version_are_refused_in_words_on_both_sides() {
    let Some(broker) = broker::start(&[]) else { return };
    let (folders, lines) = (Folders::new(), [(); 2].map(|()| Lines::default()));
    let served = front_with(&folders, queue(&broker.url()), &lines[0]);
    let mut other = broker.client();
    other.subscribe("latent.results.elsewhere.>");
    let id = served.submit("txt2img", small("a sun"));
    other.publish(&format!("latent.events.{}.{id}.0", name(&folders)), br#"{"schema": 97, "event": "new"}"#);
    lines[0].until("what a worker reports is of version 97 of the queue's messages");
    other.publish(&format!("latent.results.{}.{id}.0", name(&folders)), &result(99, json!([])));
    let ended = served.ended(&id);
    let line = ended["error"]["message"].as_str().unwrap_or_default();
    assert!(
        line.contains("is of version 99 of the queue's messages, and this program reads version 3"),
        "{ended}"
    );
    lines[0].until(&format!("job {id} failed: the result of a worker is of version 99"));
    // Another worker may be of that version: this one gives the job back, until none was found.
    let _worker = Worker::start_with_log(worker_options(&broker.url(), "one"), &lines[1]);
    other.publish("latent.jobs.any.demo.elsewhere.1.0", br#"{"schema": 98, "job": {}}"#);
    lines[1].until("job elsewhere.1.0 is given back: the job is of version 98 of the queue's messages");
    // Meanwhile it draws what it can.
    assert_eq!(served.ended(&served.submit("txt2img", small("a moon")))["state"], "done");
    let (subject, answer) = other.next();
    assert_eq!(subject, "latent.results.elsewhere.1.0");
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let line = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(line.starts_with("no worker can draw the job; worker one: the job is of version 98"), "{answer}");
}

#[test]
fn a_job_that_names_paths_is_refused_by_the_worker() {
    let Some(broker) = broker::start(&[]) else { return };
    let mut other = broker.client();
    other.subscribe("latent.results.elsewhere.>");
    let secret = Folders::new();
    std::fs::write(secret.path("secret.safetensors"), b"secret").unwrap();
    let path = secret.path("secret.safetensors");
    let image = json!({ "name": "../../image.png", "base64": "AAAA" });
    let task = json!({ "type": "img2img", "image": path, "strength": null, "resize": null });
    let side = json!({ "start": 0, "end": 32 });
    let part = json!({ "from": [8, 8], "to": [32, 32], "rows": side, "columns": side });
    let works = [
        json!({ "kind": "draw", "job": { "model": { "model": path } } }),
        json!({ "kind": "draw", "job": { "model": { "model": "file-7" } } }),
        json!({ "kind": "draw", "job": { "task": task } }),
        json!({ "kind": "upscale", "image": image, "model": null, "scale": null }),
        json!({ "kind": "upscale", "image": { "name": "a.png", "base64": "AAAA" }, "model": path, "scale": null }),
        json!({ "kind": "upscale_part", "image": image, "model": null, "part": part }),
        json!({ "kind": "upscale_part", "image": { "name": "a.png", "base64": "AAAA" }, "model": path, "part": part }),
        json!({ "kind": "replay", "image": image, "force": true }),
    ];
    let _worker = Worker::start(&broker, "one");
    for (job, work) in works.iter().enumerate() {
        let message = json!({
            "schema": 3, "verb": "txt2img", "seed": 7, "preview_interval": 0, "work": { "inline": work.to_string() },
            "files": [], "named_loras": [], "folders": [null, null],
        });
        other.publish(&format!("latent.jobs.any.demo.elsewhere.{job}.0"), message.to_string().as_bytes());
        other.publish("latent.wake.any.demo", b"");
        let answer: Value = serde_json::from_slice(&other.next().1).unwrap();
        let line = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(line.contains("path"), "{work}: {answer}");
        assert!(!line.contains("secret"), "{work}: {answer}");
    }
}

#[test]
fn images_that_were_damaged_or_lost_on_their_way_fail_the_job() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let mut other = broker.client();
    let bytes = other.publish_damaged_object();
    let cases = [
        ("damaged", bytes.len(), "-7.png", "what was sent is damaged"),
        ("damaged", 7, "-7.png", "what was sent is damaged"),
        ("lost", 7, "-7.png", "is not in the object store any more"),
        ("large", 1 << 40, "-7.png", "more than"),
        ("damaged", bytes.len(), "/../../image.png", "something else than seeds"),
    ];
    for (name_of_object, length, suffix, expected) in cases {
        let id = served.submit("txt2img", small("a sun"));
        let object = json!({ "name": name_of_object, "bytes": length, "sha256": "00" });
        let images = json!([{ "suffix": suffix, "seed": 7, "width": 1, "height": 1, "object": object }]);
        other.publish(&format!("latent.results.{}.{id}.0", name(&folders)), &result(3, images));
        let ended = served.ended(&id);
        let line = ended["error"]["message"].as_str().unwrap_or_default();
        assert!(ended["state"] == "failed" && line.contains(expected), "{expected}: {ended}");
        // A job that ended removes what its result named.
        other.publish_damaged_object();
    }
    assert!(folders.images().is_empty());
}

#[test]
fn wrong_credentials_and_a_broker_that_is_away_are_clear_lines() {
    let Some(mut broker) = broker::start(&["--user", "me", "--pass", "right-one"]) else { return };
    let folders = Folders::new();
    let with = |login: BrokerLogin| {
        let mut queue = queue(&broker.url());
        queue.login = login;
        queue
    };
    let wrong = [
        BrokerLogin::Anonymous,
        BrokerLogin::User("me".into(), "wrong-one".into()),
        BrokerLogin::Token("wrong-one".into()),
    ];
    for login in wrong {
        let mut options = folders.options();
        options.queue = Some(with(login.clone()));
        let error = Server::bind(options).unwrap_err().message;
        assert!(error.contains("refuses this user, password, token or key"), "{error}");
        assert!(!error.contains("wrong-one"), "{error}");
    }
    let right = with(BrokerLogin::User("me".into(), "right-one".into()));
    assert_eq!(list_workers(right.clone()).unwrap().len(), 0);
    broker.kill();
    let error = list_workers(right).unwrap_err().message;
    assert!(
        error.contains("the broker cannot be reached") && error.starts_with("nats://127.0.0.1:"),
        "{error}"
    );
}
