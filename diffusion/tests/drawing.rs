//! Runs as iterators over their steps.

use latent_diffusion::{
    CancelHandle, Drawing, Error, Image, LoadedNetwork, Margins, Mask, OwnedEvent, Pipeline, Request,
    Setting, SettingProblem, Settings, Task, loader::Checkpoint, with_threads,
};
use std::ops::ControlFlow;
use std::path::Path;

fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

fn apple() -> Request {
    Request::new("a red apple").seeds([7]).steps(3)
}

#[test]
fn the_steps_and_the_image_are_those_of_a_plain_run() {
    let settings = Settings::of(demo().model()).with_steps(3).with_seeds(vec![7]);
    let want = demo()
        .draw(&Task::TextToImage, "a red apple", "", &settings, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let mut drawing = apple().start(demo());
    let steps: Vec<_> = (&mut drawing).map(|step| (step.step, step.total, step.latents)).collect();
    let (mut pipeline, images) = drawing.finish();
    assert_eq!(images.unwrap(), want);
    assert_eq!(
        steps.iter().map(|(step, total, _)| (*step, *total)).collect::<Vec<_>>(),
        [(1, 3), (2, 3), (3, 3)]
    );
    assert!(steps.iter().all(|(.., latents)| latents.dims() == [1, 16, 16, 4]));
    // The pipeline draws on, and the request can be used anew.
    assert_eq!(apple().draw(&mut pipeline, &mut |_| ControlFlow::Continue(())).unwrap(), want);
    // Without looking at any step.
    assert_eq!(apple().start(pipeline).finish().1.unwrap(), want);
}

#[test]
fn a_run_can_be_cancelled_and_the_pipeline_lives_on() {
    let mut drawing = apple().steps(1000).start(demo());
    let first = drawing.next().unwrap();
    assert_eq!((first.step, first.total), (1, 1000));
    let preview = first.preview(0).unwrap();
    assert_eq!([1, preview.height, preview.width, 4], first.latents.dims());
    drawing.cancel();
    let (pipeline, images) = drawing.finish();
    assert!(matches!(images, Err(Error::Cancelled)), "{images:?}");
    assert_eq!(apple().start(pipeline).finish().1.unwrap().len(), 1);
}

#[test]
fn a_run_that_cannot_be_has_no_steps_and_tells_why() {
    let mut drawing = apple().steps(0).start(demo());
    assert!(drawing.next().is_none());
    let error = drawing.finish().1.unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("steps"), "{error}");
}

#[test]
fn every_task_is_drawn() {
    let mut pipeline = demo();
    let mut draw = |request: Request| -> Image {
        request.draw(&mut pipeline, &mut |_| ControlFlow::Continue(())).unwrap().remove(0)
    };
    let first = draw(apple());
    let redrawn = draw(apple().redraw(first.clone(), 0.5));
    assert!(redrawn != first && redrawn.width == first.width);
    let mut mask = Mask::filled(first.width, first.height, 0);
    let half = mask.values.len() / 2;
    mask.values[..half].fill(255);
    let part = draw(apple().inpaint(first.clone(), mask));
    assert_eq!(part.rgb[half * 3..], first.rgb[half * 3..]);
    assert_ne!(part.rgb[..half * 3], first.rgb[..half * 3]);
    let grown = draw(apple().grow(&first, Margins { left: 16, ..Margins::default() }));
    assert_eq!(grown.cropped(16, 0, first.width, first.height), first);
    let edited = apple().edit(first, 1.5).draw(&mut demo(), &mut |_| ControlFlow::Continue(()));
    assert!(edited.unwrap_err().to_string().contains("InstructPix2Pix"));
}

/// Checked by the compiler.
#[test]
fn all_of_it_may_cross_threads() {
    fn crosses<T: Send + 'static>() {}
    crosses::<Pipeline>();
    crosses::<Request>();
    crosses::<Drawing>();
    crosses::<OwnedEvent>();
    crosses::<CancelHandle>();
}

#[test]
fn all_events_reach_whoever_waits() {
    let mut drawing = apple().start(demo());
    let (mut loaded, mut steps, mut decoded) = (Vec::new(), 0, 0);
    while let Some(event) = drawing.next_event() {
        match event {
            OwnedEvent::Loading { component, .. } if loaded.last() != Some(&component) => {
                loaded.push(component);
            }
            OwnedEvent::Step { step, latents, denoised, .. } => {
                steps += 1;
                assert_eq!(denoised.is_some(), step > 0);
                assert_eq!(latents.dims(), [1, 16, 16, 4]);
            }
            OwnedEvent::Decoded { .. } => decoded += 1,
            _ => {}
        }
    }
    assert_eq!(loaded, [LoadedNetwork::TextEncoder, LoadedNetwork::UNet, LoadedNetwork::Vae]);
    assert_eq!((steps, decoded), (4, 2));
    drawing.finish().1.unwrap();
}

#[test]
fn a_handle_cancels_from_another_thread() {
    let mut drawing = apple().steps(1000).start(demo());
    let cancel = drawing.cancel_handle();
    let mut steps = 0;
    for step in &mut drawing {
        if step.step == 1 {
            let cancel = cancel.clone();
            std::thread::spawn(move || cancel.cancel()).join().unwrap();
        }
        steps += 1;
    }
    assert!(cancel.is_cancelled() && steps < 1000, "{steps}");
    assert!(matches!(drawing.finish().1, Err(Error::Cancelled)));
}

/// A run in a thread of its own has the threads of its caller, or those of the pipeline.
#[test]
fn a_thread_limit_is_kept() {
    let want = apple().draw(&mut demo(), &mut |_| ControlFlow::Continue(())).unwrap();
    let limited = with_threads(1, || apple().start(demo()).finish().1.unwrap()).unwrap();
    assert_eq!(limited, want);
    let mut pipeline = demo();
    pipeline.set_threads(2);
    assert_eq!(apple().start(pipeline).finish().1.unwrap(), want);
}

#[test]
fn a_request_is_plain_data() {
    let request = apple();
    assert_eq!(request.overrides.steps, Some(3));
    assert_eq!(request, apple());
    assert_ne!(request, apple().seeds([8]));
    assert!(format!("{request:?}").contains("a red apple"));
}

/// What a program may do with an error without reading its text.
#[test]
fn errors_of_settings_can_be_matched() {
    let settings =
        |change: fn(Settings) -> Settings| change(Settings::of(demo().model())).check(demo().model());
    let of = |result: Result<_, Error>| match result {
        Err(Error::Setting { setting, problem }) => (setting, problem),
        other => panic!("{other:?}"),
    };
    let (setting, problem) = of(settings(|s| s.with_width(Some(65))));
    assert_eq!(setting, Setting::Width);
    assert!(
        matches!(problem, SettingProblem::NotMultiple { value: 65, of: 4, nearest: 64, .. }),
        "{problem:?}"
    );
    let (setting, problem) = of(settings(|s| s.with_guidance(f64::NAN)));
    assert_eq!(setting, Setting::Guidance);
    assert!(matches!(problem, SettingProblem::OutOfRange { .. }), "{problem:?}");
    let (setting, problem) = of(settings(|s| s.with_steps(0)));
    assert_eq!(setting, Setting::Schedule);
    assert!(matches!(problem, SettingProblem::Schedule(_)), "{problem:?}");
    assert!(settings(|s| s).is_ok());
}

/// A task sets the size by itself.
#[test]
fn a_task_is_drawn_in_the_size_of_its_image() {
    let image = Image { width: 50, height: 38, rgb: vec![90; 50 * 38 * 3] };
    let settings = Settings::of(demo().model()).with_steps(2);
    let task = Task::ImageToImage { image: &image, strength: 0.5 };
    let go_on = &mut |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    let drawn = demo().draw(&task, "a red apple", "", &settings, go_on).unwrap();
    assert_eq!((drawn[0].width, drawn[0].height), (50, 38));
}
