//! What happens when the disk is full: a server whose process may make no file longer than so many bytes.

use crate::common::{Folders, Served, small};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

/// A shell's command that makes a write beyond the limit an error, and not the end of the process.
const NO_SIGNAL: &str = "trap '' XFSZ";

/// Lets the files of a server have so many bytes from now on.
fn give_room(served: &Served, bytes: Option<u64>) {
    let process = Pid::from_raw(i32::try_from(served.process_id()).unwrap());
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(process, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

fn submit(served: &Served, options: &Value) -> crate::common::Answer {
    served.post("/api/v1/jobs", &json!({ "verb": "txt2img", "options": options }))
}

fn id_of(answer: &crate::common::Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_job_fails_on_a_full_disk_and_the_next_is_drawn_when_there_is_room() {
    let folders = Folders::new();
    let served = Served::process(&folders, NO_SIGNAL);
    assert_eq!(served.ended(&served.submit("txt2img", small("first")))["state"], "done");
    let mut long = small("on a full disk");
    long["steps"] = 100.into();
    let id = id_of(&submit(&served, &long));
    served.until_it_runs(&id);
    give_room(&served, Some(512));
    let ended = served.ended(&id);
    assert_eq!(
        (&ended["state"], &ended["error"]["code"]),
        (&json!("failed"), &json!("disk_full")),
        "{ended}"
    );
    let line = ended["error"]["message"].as_str().unwrap();
    assert!(line.contains("File too large") && line.contains("make room on the disk"), "{line}");
    assert!(!line.contains('/'), "{line}");
    // No job is accepted that could be lost.
    let refused = submit(&served, &small("refused"));
    assert_eq!((refused.status, refused.code().as_str()), (507, "disk_full"), "{refused:?}");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("make room on the disk"));
    let body = json!({ "prompt": "refused", "size": "32x32" });
    assert_eq!(served.post("/v1/images/generations", &body).status, 507);
    assert_eq!(served.get("/healthz").status, 200);
    give_room(&served, None);
    let next = id_of(&submit(&served, &small("next")));
    assert_eq!(served.ended(&next)["state"], "done");
    drop(served);
    // The queue is whole, and no job runs again.
    let served = Served::start(folders.options());
    let list = served.get("/api/v1/jobs").json();
    let jobs: Vec<_> =
        list["jobs"].as_array().unwrap().iter().map(|job| [&job["prompt"], &job["state"]]).collect();
    assert_eq!(jobs, [["next", "done"], ["on a full disk", "failed"], ["first", "done"]]);
    assert_eq!((list["queued"].as_u64(), list["running"].as_u64()), (Some(0), Some(0)));
    assert_eq!(folders.images().len(), 2);
}

#[test]
fn wherever_the_disk_ends_an_accepted_job_is_not_lost() {
    // Work of some size makes the file of the queue grow; that it fails when it is its turn makes it short.
    let damaged = json!({ "prompt": "a", "image": { "base64": "A".repeat(200_000), "name": "a.png" } });
    let submit =
        |served: &Served| served.post("/api/v1/jobs", &json!({ "verb": "img2img", "options": damaged }));
    let (mut refused, mut accepted) = (0, 0);
    for end in 0..4 {
        let folders = Folders::new();
        let served = Served::process(&folders, NO_SIGNAL);
        let queue = folders.path("state").join("queue.redb");
        let now = std::fs::metadata(&queue).unwrap().len();
        give_room(&served, Some(now * end / 3));
        let answers: Vec<_> = (0..12).map(|_| submit(&served)).collect();
        let taken: Vec<String> = answers.iter().filter(|answer| answer.status == 202).map(id_of).collect();
        assert!(answers.iter().all(|answer| [202, 507].contains(&answer.status)), "{answers:?}");
        refused += answers.len() - taken.len();
        accepted += taken.len();
        drop(served);
        let served = Served::start(folders.options());
        for id in taken {
            let ended = served.ended(&id);
            let code = ended["error"]["code"].as_str().unwrap();
            assert!(["bad_input", "disk_full"].contains(&code), "{end}: {ended}");
        }
        assert_eq!(submit(&served).status, 202);
    }
    assert!(refused > 0 && accepted > 0, "{refused} {accepted}");
}
