//! The queue on disk. A crash is a queue that is dropped without its jobs having been ended.

use super::*;
use latent_app::Job;
use std::path::Path;

const LIMITS: QueueLimits = QueueLimits { jobs: 5, jobs_per_client: 3 };

fn open(folder: &Path) -> JobQueue {
    JobQueue::new(JobStore::open(folder).unwrap(), LIMITS, Arc::new(Metrics::default())).unwrap()
}

fn job(prompt: &str, client: &str) -> NewJob {
    NewJob {
        verb: "txt2img".into(),
        work: Work::Draw { job: Box::new(Job::txt2img(prompt)) },
        prompt: prompt.into(),
        model: "demo".into(),
        seed: Some(7),
        api: ApiName::Latent,
        client: client.into(),
        device: None,
        preview_interval: 0,
    }
}

fn submitted(queue: &JobQueue, prompt: &str) -> JobId {
    queue.submit(job(prompt, prompt)).unwrap().record.id
}

#[test]
fn accepted_jobs_survive_a_crash_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let ids = ["a", "b", "c"].map(|prompt| submitted(&queue, prompt));
    let first = queue.take("cpu").unwrap();
    assert_eq!((first.record.id, first.record.prompt.as_str()), (ids[0], "a"));
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(queue.counts(), (3, 0));
    // The names of its images are those that it had.
    let again = queue.take("cpu").unwrap();
    assert_eq!((again.record.id, &again.record.stem), (ids[0], &first.record.stem));
    assert_eq!(queue.work(ids[0]).unwrap(), Work::Draw { job: Box::new(Job::txt2img("a")) });
    queue.finish(ids[0], JobOutcome::Done);
    assert_eq!(queue.take("cpu").unwrap().record.id, ids[1]);
    let next = submitted(&queue, "d");
    assert!(next > ids[2]);
}

#[test]
fn a_job_that_has_ended_does_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let ids = ["a", "b", "c"].map(|prompt| submitted(&queue, prompt));
    assert_eq!(queue.take("cpu").unwrap().record.id, ids[0]);
    queue.progress(ids[0], |record, _| {
        record.images.push("a.png".into());
        JobNotice::Warning { message: "none".into() }
    });
    queue.finish(ids[0], JobOutcome::Done);
    assert_eq!(queue.take("cpu").unwrap().record.id, ids[1]);
    queue.finish(ids[1], JobOutcome::Failed(ApiError::bad_input("steps: 0").at("steps")));
    assert_eq!(queue.cancel(ids[2]).unwrap().record.phase, JobPhase::Cancelled);
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(queue.counts(), (0, 0));
    let phases = ids.map(|id| queue.status(id).unwrap().record.phase);
    assert_eq!(phases, [JobPhase::Done, JobPhase::Failed, JobPhase::Cancelled]);
    assert_eq!(queue.status(ids[0]).unwrap().record.images, ["a.png"]);
    let error = queue.status(ids[1]).unwrap().record.error.unwrap();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::BadInput, Some("steps")));
    assert_eq!(queue.cancel(ids[1]).unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(queue.status(99).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_running_job_is_cancelled_by_its_token_and_a_stopped_one_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let ids = ["a", "b"].map(|prompt| submitted(&queue, prompt));
    let taken = queue.take("cpu").unwrap();
    assert_eq!(queue.cancel(ids[0]).unwrap().record.phase, JobPhase::Running);
    assert!(taken.cancel.is_cancelled());
    queue.finish(ids[0], JobOutcome::Cancelled);
    assert_eq!(queue.status(ids[0]).unwrap().record.phase, JobPhase::Cancelled);
    let taken = queue.take("cpu").unwrap();
    queue.stop();
    assert!(taken.cancel.is_cancelled() && queue.take("cpu").is_none());
    queue.finish(ids[1], JobOutcome::Cancelled);
    assert_eq!(queue.submit(job("c", "c")).unwrap_err().code, ErrorCode::Unavailable);
    drop(queue);
    assert_eq!(open(folder.path()).take("cpu").unwrap().record.id, ids[1]);
}

#[test]
fn there_are_limits_for_all_and_for_each_client() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let submit = |client: &str| queue.submit(job("a", client)).map_err(|error| error.code).map(drop);
    assert_eq!([(); 4].map(|()| submit("x")), [Ok(()), Ok(()), Ok(()), Err(ErrorCode::QueueFull)]);
    assert_eq!([(); 3].map(|()| submit("y")), [Ok(()), Ok(()), Err(ErrorCode::QueueFull)]);
    let refused = queue.submit(job("a", "z")).unwrap_err();
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1), "{refused:?}");
    // One that runs makes room.
    assert!(queue.take("cpu").is_some());
    assert_eq!(submit("z"), Ok(()));
}

#[test]
fn positions_count_those_that_wait_and_devices_take_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let first = queue.submit(NewJob { device: Some("gpu".into()), ..job("a", "a") }).unwrap();
    let second = queue.submit(job("b", "b")).unwrap();
    assert_eq!((first.position, second.position), (Some(0), Some(1)));
    assert_eq!(second.eta_seconds, None);
    assert_eq!(queue.take("cpu").unwrap().record.id, second.record.id);
    assert_eq!(queue.take("gpu").unwrap().record.id, first.record.id);
    queue.finish(second.record.id, JobOutcome::Done);
    // How long one took says how long the next will take.
    assert!(queue.submit(job("c", "c")).unwrap().eta_seconds.is_some());
}

#[test]
fn one_server_at_a_time_uses_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let error = JobStore::open(folder.path()).unwrap_err();
    assert!(error.message.contains("another server uses it"), "{error}");
    drop(queue);
    assert!(JobStore::open(folder.path()).is_ok());
}

#[test]
fn what_the_queue_keeps_in_memory_does_not_grow_with_jobs_that_ended() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    for _ in 0..20 {
        let id = submitted(&queue, "a");
        assert_eq!(queue.take("cpu").unwrap().record.id, id);
        queue.finish(id, JobOutcome::Done);
    }
    assert_eq!(queue.counts(), (0, 0));
    assert!(queue.jobs().is_empty());
    let newest: Vec<JobId> = queue.newest(3).unwrap().iter().map(|status| status.record.id).collect();
    assert_eq!(newest, [20, 19, 18]);
}

#[test]
fn names_of_images_say_when_a_job_was_accepted() {
    assert_eq!(stem(1_795_926_746_000, 42), "20261129-043226-00042");
}
