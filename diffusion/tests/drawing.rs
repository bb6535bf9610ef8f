//! Runs as iterators over their steps.

use latent_diffusion::{
    Drawing, Error, Image, Margins, Mask, Pipeline, Request, Settings, Task, loader::Checkpoint,
};
use std::ops::ControlFlow;
use std::path::Path;

fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

fn apple() -> Request {
    Request::new("a red apple").seeds([7]).with(|settings| settings.steps = 3)
}

#[test]
fn the_steps_and_the_image_are_those_of_a_plain_run() {
    let settings = Settings { steps: 3, seeds: vec![7], ..Settings::of(demo().model()) };
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
    assert!(steps.iter().all(|(.., latents)| latents.values.len() == 4 * latents.height * latents.width));
    // The pipeline draws on, and the request can be used anew.
    assert_eq!(apple().draw(&mut pipeline, &mut |_| ControlFlow::Continue(())).unwrap(), want);
    // Without looking at any step.
    assert_eq!(apple().start(pipeline).finish().1.unwrap(), want);
}

#[test]
fn a_run_can_be_cancelled_and_the_pipeline_lives_on() {
    let mut drawing = apple().with(|settings| settings.steps = 1000).start(demo());
    let first = drawing.next().unwrap();
    assert_eq!((first.step, first.total), (1, 1000));
    let preview = first.preview(0).unwrap();
    assert_eq!((preview.width, preview.height), (first.latents.width, first.latents.height));
    drawing.cancel();
    let (pipeline, images) = drawing.finish();
    assert!(matches!(images, Err(Error::Cancelled)), "{images:?}");
    assert_eq!(apple().start(pipeline).finish().1.unwrap().len(), 1);
}

#[test]
fn a_run_that_cannot_be_has_no_steps_and_tells_why() {
    let mut drawing = apple().with(|settings| settings.steps = 0).start(demo());
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
}
