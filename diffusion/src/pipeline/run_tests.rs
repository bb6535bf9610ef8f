use super::{Hires, Pipeline, RunImage, RunPlan, Settings, Task};
use crate::image::Image;
use crate::setting::Setting;
use crate::{Error, Event};
use latent_loader::Checkpoint;
use std::ops::ControlFlow;

fn demo() -> Pipeline {
    Pipeline::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap()).unwrap()
}

fn images(pipeline: &mut Pipeline, plan: &RunPlan<'_>) -> Result<Vec<RunImage>, Error> {
    let mut images = Vec::new();
    let mut on_image = |image: RunImage| {
        images.push(image);
        ControlFlow::Continue(())
    };
    pipeline.run(plan, &mut on_image, &mut |_| ControlFlow::Continue(()))?;
    Ok(images)
}

#[test]
fn batches_with_prompts_of_their_own_give_the_images_of_each_alone() {
    let mut pipeline = demo();
    let settings = Settings::of(pipeline.model()).with_steps(2).with_seeds(vec![3, 4, 5]);
    let (prompts, negative) = (["a red apple", "a pear", "a plum"], ["", "leaves", ""]);
    let plan = RunPlan {
        batch_size: Some(2),
        negative_prompts: &negative,
        ..RunPlan::new(Task::TextToImage, &prompts, &settings)
    };
    let all = images(&mut pipeline, &plan).unwrap();
    for (i, image) in all.iter().enumerate() {
        let alone = settings.clone().with_seeds(vec![3 + i as u64]);
        let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
        let want = pipeline.text_to_image(prompts[i], negative[i], &alone, go_on).unwrap();
        assert_eq!((image.index, image.seed, &image.image), (i, 3 + i as u64, &want[0]));
    }
    // A second pass in batches, too.
    let hires = Some(Hires { steps: Some(1), ..Hires::new(96, 96) });
    let plan = RunPlan { hires, keep_loaded: true, ..plan };
    assert_eq!(images(&mut pipeline, &plan).unwrap()[2].image.width, 96);
}

#[test]
fn plans_that_fit_no_images_are_refused() {
    let mut pipeline = demo();
    let settings = Settings::of(pipeline.model()).with_steps(1).with_seeds(vec![3, 4, 5]);
    let (two, one) = (["a", "b"], ["a"]);
    let plan = |prompts| RunPlan::new(Task::TextToImage, prompts, &settings);
    let is = |result: Result<Vec<RunImage>, Error>, setting: Setting| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Setting { setting: of, .. } if of == setting), "{error}");
    };
    is(images(&mut pipeline, &plan(&two)), Setting::Prompt);
    is(images(&mut pipeline, &RunPlan { negative_prompts: &two, ..plan(&one) }), Setting::NegativePrompt);
    is(images(&mut pipeline, &RunPlan { batch_size: Some(0), ..plan(&one) }), Setting::BatchSize);
    let image = Image { width: 64, height: 64, rgb: vec![0; 64 * 64 * 3] };
    let task = Task::ImageToImage { image: &image, strength: 0.5 };
    is(
        images(&mut pipeline, &RunPlan { task, hires: Some(Hires::new(96, 96)), ..plan(&one) }),
        Setting::Hires,
    );
}

#[test]
fn a_run_ends_where_its_images_are_not_wanted() {
    let mut pipeline = demo();
    let settings = Settings::of(pipeline.model()).with_steps(1).with_seeds(vec![3, 4, 5]);
    let plan = RunPlan { batch_size: Some(1), ..RunPlan::new(Task::TextToImage, &["a"], &settings) };
    let mut count = 0;
    let mut on_image = |_: RunImage| {
        count += 1;
        ControlFlow::Break(())
    };
    let result = pipeline.run(&plan, &mut on_image, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(count, 1);
}
