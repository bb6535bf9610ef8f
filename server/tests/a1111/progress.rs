//! Jobs that run: how far they are, and their end.

use super::{get, info, post, served, size, small};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;

const PROGRESS: &str = "/sdapi/v1/progress";

/// So much that it does not end by itself in a test.
fn endless() -> Value {
    small(json!({ "width": 64, "height": 64, "steps": 100, "n_iter": 1000 }))
}

#[test]
fn without_a_job_there_is_no_progress() {
    let (_folders, served) = served();
    let idle = get(&served, PROGRESS);
    assert_eq!((&idle["progress"], &idle["state"]["job_count"]), (&json!(0.0), &json!(0)));
    assert_eq!((&idle["current_image"], &idle["eta_relative"]), (&Value::Null, &json!(0.0)));
    assert_eq!(post(&served, "/sdapi/v1/interrupt", &json!({})), json!({}));
    assert_eq!(post(&served, "/sdapi/v1/skip", &json!({})), Value::Null);
}

#[test]
fn a_job_shows_how_far_it_is_and_an_interrupted_one_answers_with_its_complete_images() {
    let (folders, served) = served();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| post(&served, "/sdapi/v1/txt2img", &endless()));
        let seen = loop {
            let seen = get(&served, PROGRESS);
            if seen["state"]["job_no"].as_u64() > Some(0) && seen["current_image"].is_string() {
                break seen;
            }
            std::thread::yield_now();
        };
        assert_eq!(size(&seen["current_image"]), (64, 64));
        let progress = seen["progress"].as_f64().unwrap();
        assert!(progress > 0.0 && progress < 1.0, "{progress}");
        let state = &seen["state"];
        assert_eq!((&state["job_count"], &state["job"]), (&json!(1000), &json!("scripts_txt2img")));
        assert_eq!(get(&served, "/sdapi/v1/progress?skip_current_image=true")["current_image"], Value::Null);
        // Others would follow.
        assert_eq!(served.post("/sdapi/v1/skip", &json!({})).status, 422);
        assert_eq!(post(&served, "/sdapi/v1/interrupt", &json!({})), json!({}));
        let answer = waiting.join().unwrap();
        let images = answer["images"].as_array().unwrap().len();
        assert!((1..1000).contains(&images) && folders.images().len() == images, "{images}");
        assert_eq!(info(&answer)["all_seeds"].as_array().unwrap().len(), images);
    });
    assert_eq!(get(&served, PROGRESS)["state"]["job_count"], 0);
}

#[test]
fn the_only_image_of_a_job_can_be_skipped() {
    let (_folders, served) = served();
    let body = small(json!({ "width": 64, "height": 64, "steps": 1000 }));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| post(&served, "/sdapi/v1/txt2img", &body));
        while get(&served, PROGRESS)["state"]["sampling_steps"] != 1000 {
            std::thread::yield_now();
        }
        post(&served, "/sdapi/v1/skip", &json!({}));
        let answer = waiting.join().unwrap();
        let told = info(&answer);
        assert_eq!(
            (&answer["images"], &told["seed"], &told["prompt"]),
            (&json!([]), &json!(7), &json!("a red apple"))
        );
    });
}

#[test]
fn jobs_of_other_apis_show_but_are_not_interrupted() {
    let (_folders, served) = served();
    let other = served.submit("txt2img", crate::common::endless());
    served.until_it_runs(&other);
    assert_eq!(get(&served, PROGRESS)["state"]["job_count"], 1000);
    post(&served, "/sdapi/v1/interrupt", &json!({}));
    assert_eq!(get(&served, &format!("/api/v1/jobs/{other}"))["state"], "running");
}

#[test]
fn a_client_that_goes_away_ends_its_job() {
    let (_folders, served) = served();
    let body = endless().to_string();
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    while get(&served, PROGRESS)["state"]["sampling_step"].as_u64() == Some(0) {
        std::thread::yield_now();
    }
    drop(stream);
    while get(&served, PROGRESS)["state"]["job_count"] != 0 {
        std::thread::yield_now();
    }
    assert_eq!(get(&served, "/api/v1/jobs?limit=1")["jobs"][0]["state"], "cancelled");
}
