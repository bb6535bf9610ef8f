//! The server is killed at random moments: every job that it accepted ends once.

use crate::common::{Folders, Served, small};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often the server is killed, unless the environment variable `LATENT_KILLS` says another number.
const KILLS: u64 = 4;
/// Jobs that are sent in a round until the server is killed.
const JOBS: u64 = 6;
/// The longest time in microseconds until it is killed.
const LONGEST: u64 = 600_000;

fn kills() -> u64 {
    std::env::var("LATENT_KILLS").map_or(KILLS, |number| number.parse().expect("LATENT_KILLS is a number"))
}

/// Random numbers, the same in each run (SplitMix64); the moments are as random as the system's clock is.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All jobs by number.
fn jobs(served: &Served) -> BTreeMap<u64, Value> {
    let list = served.get("/api/v1/jobs?limit=1000").json();
    let jobs = list["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (job["id"].as_str().unwrap().parse().unwrap(), job.clone())).collect()
}

#[test]
fn every_accepted_job_ends_once_however_often_the_server_is_killed() {
    let folders = Folders::new();
    let (mut state, mut accepted, mut interrupted) = (1, BTreeSet::new(), 0);
    // Jobs that had ended when the server was killed: it is written when.
    let mut ended: BTreeMap<u64, Value> = BTreeMap::new();
    for round in 0..kills() {
        let served = Served::process(&folders, "true");
        for (id, before) in &ended {
            let now = &jobs(&served)[id];
            assert_eq!(now, before, "job {id} ran again in round {round}");
        }
        let process = served.process_id();
        let wait = Duration::from_micros(random(&mut state) % LONGEST);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(wait);
            let process = rustix::process::Pid::from_raw(process as i32).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        });
        let mut seen = Vec::new();
        for i in 0.. {
            if i < JOBS {
                let mut options = small(&format!("round {round}, job {i}"));
                options["steps"] = (1 + random(&mut state) % 3).into();
                let body = json!({ "verb": "txt2img", "options": options }).to_string();
                let Ok(answer) = served.try_send("POST", "/api/v1/jobs", &[], body.as_bytes()) else { break };
                assert_eq!(answer.status, 202, "{answer:?}");
                accepted.insert(answer.json()["id"].as_str().unwrap().parse::<u64>().unwrap());
            }
            // What a client has seen to have ended stays so.
            let Ok(answer) = served.try_send("GET", "/api/v1/jobs?limit=1000", &[], b"") else { break };
            seen = answer.json()["jobs"].as_array().unwrap().clone();
        }
        killer.join().unwrap();
        drop(served);
        let is_final = |job: &&Value| job["state"] != "queued" && job["state"] != "running";
        interrupted += seen.iter().filter(|job| !is_final(job)).count();
        let finals = seen.iter().filter(is_final);
        ended.extend(finals.map(|job| (job["id"].as_str().unwrap().parse().unwrap(), job.clone())));
    }
    let served = Served::process(&folders, "true");
    for id in &accepted {
        let job = served.ended(&id.to_string());
        assert_eq!((&job["state"], job["images"].as_array().unwrap().len()), (&json!("done"), 1), "{job}");
    }
    // One whose answer was on its way may be there, too.
    for id in jobs(&served).keys() {
        served.ended(&id.to_string());
    }
    let all = jobs(&served);
    assert!(accepted.iter().all(|id| all.contains_key(id)));
    assert!(ended.iter().all(|(id, before)| all[id] == *before));
    let names: BTreeSet<_> =
        all.values().map(|job| job["images"][0]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, folders.images().into_iter().collect());
    assert_eq!(names.len(), all.len());
    println!("{} kills, {} jobs accepted, {} in all", kills(), accepted.len(), all.len());
    println!("{} ended before a kill, jobs were interrupted {interrupted} times", ended.len());
}
