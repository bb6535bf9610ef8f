//! Drawing with ControlNets.

use super::{control, entries, file, image, open, quiet};
use latent_diffusion::samplers;
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::{Control, Event, Fill, Image, Latents, LoadedNetwork, Mask, Pipeline, Settings, Task};
use latent_kernels::parallel;
use std::ops::ControlFlow;

pub(super) const STEPS: usize = 4;

pub(super) fn settings(seeds: &[u64]) -> Settings {
    let (sampler, _) = samplers::parse("euler").unwrap();
    Settings::default()
        .with_width(Some(64))
        .with_height(Some(64))
        .with_steps(STEPS)
        .with_sampler(sampler)
        .with_schedule(ScheduleKind::Normal)
        .with_seeds(seeds.to_vec())
}

fn one(family: &str) -> Control {
    Control::new(control(family), image(64, 64))
}

/// What a pipeline draws from words.
pub(super) fn draw(pipeline: &mut Pipeline, controls: Vec<Control>, seeds: &[u64]) -> Vec<Image> {
    pipeline.set_controls(controls).unwrap();
    pipeline.text_to_image("a bridge", "fog", &settings(seeds), &mut *quiet()).unwrap()
}

/// The latents after each step.
pub(super) fn steps(pipeline: &mut Pipeline, controls: Vec<Control>) -> Vec<Vec<f32>> {
    pipeline.set_controls(controls).unwrap();
    let mut steps = Vec::new();
    let mut listener = |event: Event<'_>| {
        if let Event::Step { step: 1.., latents, .. } = event {
            steps.push(Latents::from_channels_last(latents).unwrap().values);
        }
        ControlFlow::Continue(())
    };
    pipeline.text_to_image("a bridge", "", &settings(&[3]), &mut listener).unwrap();
    assert_eq!(steps.len(), STEPS);
    steps
}

#[test]
fn at_strength_0_the_bytes_are_those_without() {
    for family in ["sd15", "sd21", "sdxl"] {
        let mut pipeline = open(family);
        let plain = draw(&mut pipeline, vec![], &[3]);
        let at = |strength| vec![Control { strength, ..one(family) }];
        assert!(draw(&mut pipeline, at(0.0), &[3]) == plain, "{family}");
        assert!(draw(&mut pipeline, at(1.0), &[3]) != plain, "{family} is not steered");
        assert!(draw(&mut pipeline, at(1.0), &[3]) != draw(&mut pipeline, at(0.5), &[3]), "{family}");
        assert!(draw(&mut pipeline, vec![], &[3]) == plain, "{family} is steered for ever");
    }
}

#[test]
fn the_same_bytes_alone_and_in_a_batch_and_on_any_number_of_threads() {
    let mut pipeline = open("sd15");
    let controls = || vec![one("sd15")];
    let batch = draw(&mut pipeline, controls(), &[3, 4, 5]);
    for (image, seed) in batch.iter().zip(3..) {
        assert!(draw(&mut pipeline, controls(), &[seed])[0] == *image, "seed {seed}");
    }
    for threads in [1, 3] {
        let drawn = parallel::with_threads(threads, || draw(&mut open("sd15"), controls(), &[3])).unwrap();
        assert!(drawn[0] == batch[0], "{threads} threads");
    }
}

#[test]
fn it_acts_in_its_part_of_the_steps() {
    let mut pipeline = open("sd15");
    let plain = steps(&mut pipeline, vec![]);
    let always = steps(&mut pipeline, vec![one("sd15")]);
    let part = |start, end| vec![Control { start, end, ..one("sd15") }];
    let first_half = steps(&mut pipeline, part(0.0, 0.5));
    assert!(first_half[..2] == always[..2] && first_half[2] != always[2]);
    let second_half = steps(&mut pipeline, part(0.5, 1.0));
    assert!(second_half[..2] == plain[..2] && second_half[2] != plain[2]);
    // Between two steps there is none.
    assert!(steps(&mut pipeline, part(0.3, 0.45)) == plain);
    // Part of a step is not enough.
    assert!(steps(&mut pipeline, part(0.0, 0.7)) == first_half);
}

#[test]
fn several_add_up() {
    let mut pipeline = open("sd15");
    let half = || Control { strength: 0.5, ..one("sd15") };
    let net = control("sd15");
    let shared = |strength| Control { strength, ..Control::new(net.clone(), image(64, 64)) };
    let twice = steps(&mut pipeline, vec![half(), half()]);
    let once = steps(&mut pipeline, vec![one("sd15")]);
    let largest = once[3].iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
    for (a, b) in once.iter().flatten().zip(twice.iter().flatten()) {
        assert!((a - b).abs() < 1e-3 * largest, "{a} {b}");
    }
    // The same file for both is read once, and is the same.
    let mut read = 0;
    pipeline.set_controls(vec![shared(0.5), shared(0.5)]).unwrap();
    let mut listener = |event: Event<'_>| {
        if let Event::Loading { component: LoadedNetwork::ControlNet, read: bytes, total } = event {
            read += usize::from(bytes == total);
        }
        ControlFlow::Continue(())
    };
    let drawn = pipeline.text_to_image("a bridge", "", &settings(&[3]), &mut listener).unwrap();
    assert_eq!(read, 1);
    pipeline.set_controls(vec![half(), half()]).unwrap();
    assert!(drawn == pipeline.text_to_image("a bridge", "", &settings(&[3]), &mut *quiet()).unwrap());
}

#[test]
fn every_task_is_steered() {
    let given = image(60, 64);
    let mask =
        Mask { width: 60, height: 64, values: (0..60 * 64).map(|i| (i % 60 / 30 * 255) as u8).collect() };
    let tasks = [
        ("sd15", Task::ImageToImage { image: &given, strength: 0.75 }),
        (
            "sd15",
            Task::Inpaint { image: &given, mask: &mask, strength: 1.0, fill: Fill::Original, feather: 0.0 },
        ),
        (
            "sd15-inpaint",
            Task::Inpaint { image: &given, mask: &mask, strength: 1.0, fill: Fill::Original, feather: 0.0 },
        ),
        ("sd15-pix2pix", Task::Edit { image: &given, guidance: 1.5 }),
    ];
    for (family, task) in tasks {
        let mut pipeline = Pipeline::open(file(family, entries(family))).unwrap();
        let settings = task.sized(settings(&[3]), pipeline.model());
        let mut draw = |controls: Vec<Control>| {
            pipeline.set_controls(controls).unwrap();
            pipeline.draw(&task, "a bridge", "", &settings, &mut *quiet()).unwrap()
        };
        // Of the task's own size, and of the size that is drawn.
        let seen = Control::new(control("sd15"), image(60, 64));
        let (plain, steered) = (draw(vec![]), draw(vec![seen]));
        assert!(plain != steered, "{family} {task:?} is not steered");
        draw(vec![one("sd15")]);
        if matches!(task, Task::Inpaint { .. }) {
            let kept = |image: &Image| image.cropped(0, 0, 30, 64);
            assert!(kept(&steered[0]) == kept(&given), "{family}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_and_change_nothing() {
    let mut pipeline = open("sd15");
    let usual = || one("sd15");
    for (bad, part) in [
        (Control { strength: -1.0, ..usual() }, "1 is usual"),
        (Control { strength: f64::NAN, ..usual() }, "1 is usual"),
        (Control { start: 0.6, end: 0.5, ..usual() }, "0 to 1"),
        (Control { start: f64::NAN, ..usual() }, "0 to 1"),
        (Control { end: 1.5, ..usual() }, "0 to 1"),
    ] {
        let error = pipeline.set_controls(vec![usual(), bad]).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
    let other = Control { image: image(64, 72), ..usual() };
    let plain = draw(&mut pipeline, vec![], &[3]);
    pipeline.set_controls(vec![other]).unwrap();
    let mut told = false;
    let mut listener = |_: Event<'_>| {
        told = true;
        ControlFlow::Continue(())
    };
    let error = pipeline.text_to_image("a", "", &settings(&[3]), &mut listener).unwrap_err();
    assert!(error.to_string().contains("64x72 pixels are given, and 64x64 are needed"), "{error}");
    assert!(!told, "it is found before anything is read");
    assert!(draw(&mut pipeline, vec![], &[3]) == plain);
}

#[test]
fn only_the_base_is_steered_beside_a_refiner() {
    let mut pipeline = open("sdxl");
    pipeline.set_refiner(Some((open("sdxl-refiner"), 0.5))).unwrap();
    let plain = steps(&mut pipeline, vec![]);
    let late = |start| vec![Control { start, ..one("sdxl") }];
    assert!(steps(&mut pipeline, late(0.75)) == plain, "the refiner walks there");
    assert!(steps(&mut pipeline, late(0.0))[0] != plain[0]);
}

/// What a preview shows goes on towards the last latents, which it is in the end.
#[test]
fn the_last_prediction_is_told() {
    let mut pipeline = open("sd15");
    let mut told = Vec::new();
    let mut listener = |event: Event<'_>| {
        if let Event::Step { step, latents, denoised, sigma, .. } = event {
            assert_eq!(denoised.is_none(), step == 0);
            let values = |x: &Tensor| x.f32s().unwrap().to_vec();
            told.push((values(latents), denoised.map(values).unwrap_or_default(), sigma));
        }
        ControlFlow::Continue(())
    };
    pipeline.text_to_image("a bridge", "", &settings(&[3]), &mut listener).unwrap();
    let (last, denoised, sigma) = told.last().unwrap();
    assert_eq!(*sigma, 0.0);
    for (latent, denoised) in last.iter().zip(denoised) {
        assert!((latent - denoised).abs() < 1e-4 * latent.abs().max(1.0), "{latent} {denoised}");
    }
    assert!(told[1].1 != told[1].0 && told[1].1.len() == told[1].0.len());
}
