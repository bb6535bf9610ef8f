//! Negative prompts of models whose large text encoder takes long: encoded only where there is guidance away from them.

use super::pipeline;
use latent_diffusion::{Conditioning, Error, Pipeline, Setting, Settings};
use std::ops::ControlFlow;

fn encode(pipeline: &mut Pipeline, prompt: &str, negative: &str, settings: &Settings) -> Conditioning {
    pipeline.encode(&[prompt], &[negative], settings, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Latents after one step, or what was wrong.
fn sample(
    pipeline: &mut Pipeline,
    conditioning: &Conditioning,
    settings: &Settings,
) -> Result<Vec<f32>, Error> {
    let latents = pipeline.sample(conditioning, settings, &mut |_| ControlFlow::Continue(()))?;
    Ok(latents.values)
}

#[test]
fn without_guidance_they_are_left_out() {
    for family in ["flux-schnell", "z-image"] {
        let mut pipeline = pipeline(family);
        let settings =
            Settings::of(pipeline.model()).with_steps(1).with_width(Some(32)).with_height(Some(32));
        let (plain, guided) = (settings.clone().with_guidance(1.0), settings.with_guidance(4.0));
        let [without, with] =
            ["", "blurry"].map(|negative| encode(&mut pipeline, "a red fox", negative, &plain));
        let latents = sample(&mut pipeline, &without, &plain).unwrap();
        assert_eq!(latents, sample(&mut pipeline, &with, &plain).unwrap(), "{family}");
        let error = sample(&mut pipeline, &with, &guided).unwrap_err();
        assert!(matches!(error, Error::Setting { setting: Setting::Guidance, .. }), "{family}: {error}");

        let with = encode(&mut pipeline, "a red fox", "blurry", &guided);
        assert_eq!(latents, sample(&mut pipeline, &with, &plain).unwrap(), "{family}");
        let without = encode(&mut pipeline, "a red fox", "", &guided);
        let [with, without] = [with, without].map(|text| sample(&mut pipeline, &text, &guided).unwrap());
        assert_ne!(with, without, "{family}");
    }
}

/// What the parts of a composed prompt change is counted from the negative prompt.
#[test]
fn composed_prompts_need_them() {
    let mut pipeline = pipeline("flux-schnell");
    let settings = Settings::of(pipeline.model()).with_steps(1).with_width(Some(32)).with_height(Some(32));
    let settings = settings.with_guidance(1.0);
    let [one, other] = ["blurry", "a tree"]
        .map(|negative| encode(&mut pipeline, "a red fox AND snow :0.5", negative, &settings))
        .map(|text| sample(&mut pipeline, &text, &settings).unwrap());
    assert_ne!(one, other);
}
