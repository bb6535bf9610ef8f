//! What happens to jobs when the server ends.

use crate::common::{Folders, Served, endless, small};

#[test]
fn jobs_that_waited_or_ran_are_drawn_after_the_next_start_and_once() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut long = small("a long one");
    (long["steps"], long["batch_count"]) = (60.into(), 3.into());
    let running = served.submit("txt2img", long);
    let waiting: Vec<String> =
        (0..2).map(|i| served.submit("txt2img", small(&format!("number {i}")))).collect();
    served.interrupt();
    let before = folders.images();
    let served = Served::start(folders.options());
    let ends: Vec<_> = [&running].into_iter().chain(&waiting).map(|id| served.ended(id)).collect();
    assert!(ends.iter().all(|end| end["state"] == "done"), "{ends:?}");
    let names: Vec<&str> = ends
        .iter()
        .flat_map(|end| end["images"].as_array().unwrap())
        .map(|image| image["name"].as_str().unwrap())
        .collect();
    // What was written before is replaced by the same name, and there is nothing else.
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        (sorted.len(), &folders.images()),
        (5, &sorted.iter().map(|name| (*name).to_owned()).collect())
    );
    assert!(before.iter().all(|name| names.contains(&name.as_str())));
    assert!(
        ends.windows(2).all(|pair| pair[0]["finished"].as_str() <= pair[1]["started"].as_str()),
        "{ends:?}"
    );
}

#[test]
fn draining_waits_for_the_job_that_runs_and_leaves_the_others_in_the_queue() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut long = small("a long one");
    long["steps"] = 30.into();
    let running = served.submit("txt2img", long);
    let mut events = served.open("/api/v1/events");
    let waiting = served.submit("txt2img", endless());
    // It runs before the server is asked to stop.
    served.until_it_runs(&running);
    served.drain();
    // Readers of events are let go.
    std::io::copy(&mut events, &mut std::io::sink()).unwrap();
    let served = Served::start(folders.options());
    assert_eq!(served.get(&format!("/api/v1/jobs/{running}")).json()["state"], "done");
    let state = served.get(&format!("/api/v1/jobs/{waiting}")).json()["state"].clone();
    assert!(state == "queued" || state == "running", "{state}");
}
