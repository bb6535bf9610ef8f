//! Jobs on the built-in model: events, previews, cancellation, images in memory.

use latent_app::device::DeviceOptions;
use latent_app::job::{ImageSource, Img2imgTask, JobTask, PreviewOptions};
use latent_app::{AppError, CancelToken, Job, JobEvent, JobImage, Session, output};
use latent_diffusion::LoadedNetwork;
use std::ops::ControlFlow;

/// A small job whose images are the same everywhere.
fn job(options: &[(&str, &[&str])]) -> Job {
    let mut job = Job::txt2img("a red apple");
    let small: [(&str, &[&str]); 5] =
        [("width", &["32"]), ("height", &["32"]), ("steps", &["3"]), ("seed", &["7"]), ("device", &["cpu"])];
    small.iter().chain(options).for_each(|(name, values)| job.set(name, values).unwrap());
    job
}

fn events(session: &mut Session, job: &Job) -> Vec<JobEvent> {
    let mut events = Vec::new();
    let run = session.run(job, &CancelToken::new(), &mut |event| {
        events.push(event);
        ControlFlow::Continue(())
    });
    run.unwrap();
    events
}

#[test]
fn events_can_be_sent_and_a_session_can_move() {
    fn sent<T: Send + 'static>() {}
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Job>();
    shared::<JobEvent>();
    shared::<CancelToken>();
    sent::<Session>();
    sent::<AppError>();
}

#[test]
fn steps_previews_and_images() {
    let mut job = job(&[("batch-count", &["2"])]);
    job.preview = Some(PreviewOptions::every(2));
    let events = events(&mut Session::new(), &job);
    let count = |is: fn(&JobEvent) -> bool| events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, JobEvent::Step { step: 0, total: 3, .. })), 2);
    // Of step 2 and of the last one, for both images.
    assert_eq!(count(|event| matches!(event, JobEvent::Preview(image) if image.width == 32)), 4);
    assert_eq!(count(|event| matches!(event, JobEvent::MemoryEstimated { .. })), 1);
    assert_eq!(count(|event| matches!(event, JobEvent::SeedChosen(_))), 0);
    let seeds: Vec<u64> = images(&events).map(|image| image.seed).collect();
    assert_eq!(seeds, [7, 8]);
}

fn images(events: &[JobEvent]) -> impl Iterator<Item = &JobImage> {
    events.iter().filter_map(|event| match event {
        JobEvent::Image(image) => Some(&**image),
        _ => None,
    })
}

#[test]
fn a_model_stays_open_for_jobs_that_ask_for_the_same() {
    let mut session = Session::new();
    session.keep_unet(true);
    let loads = |events: &[JobEvent]| {
        let is =
            |event: &&JobEvent| matches!(event, JobEvent::Loading { component: LoadedNetwork::UNet, .. });
        events.iter().filter(is).count()
    };
    let first = events(&mut session, &job(&[]));
    let second = events(&mut session, &job(&[]));
    assert!(loads(&first) > 0 && loads(&second) == 0);
    let pixels = |events: &[JobEvent]| images(events).next().unwrap().image.rgb.clone();
    assert_eq!(pixels(&first), pixels(&second));
    let other = events(&mut session, &job(&[("prediction", &["v"])]));
    assert!(loads(&other) > 0 && pixels(&other) != pixels(&first));
}

#[test]
fn a_job_is_cancelled_by_its_token_and_by_its_observer() {
    let mut session = Session::new();
    let long = job(&[("steps", &["1000"])]);
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let mut last = 0;
    let run = session.run(&long, &cancel, &mut |event| {
        if let JobEvent::Step { step, .. } = event {
            last = step;
            if step == 2 {
                token.cancel();
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!((run, last), (Err(AppError::Interrupted), 2));
    let run = session.run(&long, &CancelToken::new(), &mut |_| ControlFlow::Break(()));
    assert_eq!(run, Err(AppError::Interrupted));
    // The session goes on.
    assert_eq!(session.draw(&job(&[])).unwrap().len(), 1);
}

/// A server needs no files, and a job that was sent as JSON draws the same.
#[test]
fn images_may_be_in_memory() {
    let mut session = Session::new();
    let apple = session.draw(&job(&[])).unwrap().remove(0);
    let png = output::png(&apple.image).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.png");
    std::fs::write(&path, &png).unwrap();
    let mut draw = |image: ImageSource| {
        let mut redraw = job(&[]);
        redraw.task = JobTask::Img2img(Img2imgTask::new(image));
        redraw.set("strength", &["0.60"]).unwrap();
        let sent: Job = serde_json::from_str(&serde_json::to_string(&redraw).unwrap()).unwrap();
        assert_eq!(sent, redraw);
        session.draw(&sent).unwrap().remove(0)
    };
    let (inline, from_file) = (draw(ImageSource::inline("in.png", png)), draw(path.into()));
    assert!(inline.image == from_file.image && inline.image != apple.image);
    assert_eq!(inline.texts, from_file.texts);
    let own: serde_json::Value = serde_json::from_str(&inline.texts[1].1).unwrap();
    assert_eq!((&own["flags"]["strength"][0], &own["files"][0]["name"]), (&"0.60".into(), &"in.png".into()));
}

#[test]
fn what_cannot_be_is_an_error_before_anything_is_drawn() {
    let refused = |job: &Job| Session::new().draw(job).unwrap_err();
    assert!(
        matches!(refused(&job(&[("width", &["33"])])), AppError::BadInput(line) if line.contains("width"))
    );
    let mut bad = job(&[]);
    bad.device = DeviceOptions::new(Some("gpu:99".parse().unwrap()), None, None);
    assert_eq!(refused(&bad).exit_status(), 2);
    assert_eq!(Session::new().with_threads(Some(0)).draw(&job(&[])).unwrap_err().exit_status(), 2);
}

/// Images of a job that two devices share are, byte for byte and in their order, those of one; and the job can be cancelled.
#[cfg(feature = "gpu")]
#[test]
fn two_gpus_draw_the_images_of_one() {
    use latent_diffusion::tensor::gpu;
    if gpu::adapters().is_empty() {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return;
    }
    let on = |device: &str| {
        let mut job = job(&[("batch-count", &["5"]), ("batch-size", &["2"]), ("device", &[device])]);
        job.preview = Some(PreviewOptions::every(3));
        job
    };
    let [one, two] = ["gpu:0", "gpu:0,0"].map(|device| events(&mut Session::new(), &on(device)));
    let drawn = |events: &[JobEvent]| -> Vec<_> {
        images(events)
            .map(|drawn| (drawn.index, drawn.seed, drawn.image.clone(), drawn.texts.clone()))
            .collect()
    };
    assert_eq!(drawn(&one).len(), 5);
    assert!(drawn(&one) == drawn(&two));
    let count =
        |events: &[JobEvent], is: fn(&JobEvent) -> bool| events.iter().filter(|event| is(event)).count();
    let weights =
        |event: &JobEvent| matches!(event, JobEvent::GpuWeights { weights, limit: None, .. } if *weights > 0);
    assert_eq!((count(&one, weights), count(&two, weights)), (1, 2));
    // That of the earliest batch is shown.
    assert!(count(&two, |event| matches!(event, JobEvent::Preview(_))) > 0);
    let mut steps = 0;
    let run = Session::new().run(&on("gpu:0,0"), &CancelToken::new(), &mut |event| {
        steps += usize::from(matches!(event, JobEvent::Step { .. }));
        if steps == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(run, Err(AppError::Interrupted));
    assert!(steps < 2 * 4 * 3, "{steps}");
}
