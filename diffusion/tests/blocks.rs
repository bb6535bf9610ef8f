//! The blocks of the networks are reported within steps and images, and a run can be cancelled at each of them.

use latent_diffusion::{
    Error, Event, Image, OwnedEvent, Pipeline, Request, Settings, Stage, Task, VaeTiling, loader::Checkpoint,
};
use std::ops::ControlFlow;
use std::path::Path;

fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

/// What a run reported, in its order: blocks as `(stage, block, total)`, steps and images as nothing.
type Reported = Vec<Option<(Stage, usize, usize)>>;

fn run(pipeline: &mut Pipeline, task: &Task<'_>, prompt: &str, settings: &Settings) -> (Reported, Image) {
    let mut reported = Vec::new();
    let mut listener = |event: Event<'_>| {
        match event {
            Event::Block { stage, block, total } => reported.push(Some((stage, block, total))),
            Event::Step { .. } | Event::Encoded { .. } | Event::Decoded { .. } => reported.push(None),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let mut images = pipeline.draw(task, prompt, "blurry", settings, &mut listener).unwrap();
    (reported, images.remove(0))
}

/// The evaluations of a stage, each of which counts from 1 to its total: the totals.
#[track_caller]
fn evaluations(reported: &Reported, of: Stage) -> Vec<usize> {
    let mut totals = Vec::new();
    let mut last = (0, 0);
    for &(stage, block, total) in reported.iter().flatten().filter(|(stage, ..)| *stage == of) {
        if last.0 == last.1 {
            assert_eq!(block, 1, "{stage}");
            totals.push(total);
        } else {
            assert_eq!((block, total), (last.0 + 1, last.1), "{stage}");
        }
        last = (block, total);
    }
    assert_eq!(last.0, last.1, "{of} ends before its last block");
    totals
}

#[test]
fn every_network_counts_to_its_total() {
    let mut pipeline = demo();
    let settings = Settings::of(pipeline.model()).with_steps(3).with_seeds(vec![7]);
    let (reported, image) = run(&mut pipeline, &Task::TextToImage, "a red apple", &settings);
    let unet = evaluations(&reported, Stage::Sampling);
    assert_eq!(unet.len(), 3, "{unet:?}");
    assert!(unet[0] > 5 && unet.iter().all(|total| *total == unet[0]), "{unet:?}");
    let text = evaluations(&reported, Stage::TextEncoding);
    assert!(text.len() == 1 && text[0] > 1, "{text:?}");
    let vae = evaluations(&reported, Stage::Decoding);
    assert!(vae.len() == 1 && vae[0] > 5, "{vae:?}");
    // No step ends without its blocks.
    let of_step = |block: &Option<(Stage, usize, usize)>| matches!(block, Some((Stage::Sampling, ..)));
    let steps: Vec<usize> = reported
        .split(Option::is_none)
        .map(|between| between.iter().filter(|block| of_step(block)).count())
        .filter(|count| *count > 0)
        .collect();
    assert_eq!(steps, unet);

    // Two subprompts and the negative one take more than one evaluation, which are counted together.
    let (composed, _) = run(&mut pipeline, &Task::TextToImage, "a cat AND a dog AND a hat", &settings);
    assert_eq!(evaluations(&composed, Stage::Sampling).len(), 3);
    // In most steps the finest level alone.
    let cached = settings.clone().with_cache_interval(2);
    let (cached, _) = run(&mut pipeline, &Task::TextToImage, "a red apple", &cached);
    let cached = evaluations(&cached, Stage::Sampling);
    assert!(cached[0] == unet[0] && cached[1] < unet[0] && cached[2] == unet[0], "{cached:?}");

    let task = Task::ImageToImage { image: &image, strength: 1.0 };
    let (encoded, whole) = run(&mut pipeline, &task, "a red apple", &settings);
    let encoder = evaluations(&encoded, Stage::ImageEncoding);
    assert!(encoder.len() == 1 && encoder[0] > 3, "{encoder:?}");
    let mut in_bands = demo().with_vae_tiling(VaeTiling::Bands);
    let (reported, bands) = run(&mut in_bands, &task, "a red apple", &settings);
    assert_eq!(bands, whole);
    assert!(evaluations(&reported, Stage::ImageEncoding)[0] > encoder[0]);
    assert!(evaluations(&reported, Stage::Decoding)[0] > vae[0]);
}

#[test]
fn a_run_is_cancelled_within_a_block() {
    for stage in [Stage::TextEncoding, Stage::Sampling, Stage::Decoding] {
        let mut pipeline = demo();
        let settings = Settings::of(pipeline.model()).with_steps(2).with_seeds(vec![7]);
        let mut after = 0;
        let mut is_cancelled = false;
        let drawn = pipeline.draw(&Task::TextToImage, "a red apple", "", &settings, &mut |event| {
            after += usize::from(is_cancelled);
            is_cancelled |= matches!(event, Event::Block { stage: own, block: 2, .. } if own == stage);
            if is_cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(drawn, Err(Error::Cancelled)), "{stage}: {drawn:?}");
        assert!(is_cancelled && after == 0, "{stage}: {after} events after it was cancelled");
        // The pipeline draws on.
        let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
        assert!(pipeline.draw(&Task::TextToImage, "a red apple", "", &settings, &mut go_on).is_ok());
    }
}

#[test]
fn blocks_reach_whoever_waits_and_hold_up_nobody() {
    let mut drawing = Request::new("a red apple").seeds([7]).steps(3).start(demo());
    let mut blocks = 0;
    while let Some(event) = drawing.next_event() {
        blocks += usize::from(matches!(event, OwnedEvent::Block { .. }));
    }
    assert!(blocks > 0);
    assert_eq!(drawing.finish().1.unwrap().len(), 1);
}
