//! An image's bytes do not depend on the images drawn beside it.

use latent_diffusion::samplers::{self, Sampler};
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::{Event, Latents, Pipeline, Settings, loader::Checkpoint};
use std::ops::ControlFlow;
use std::path::Path;

fn latents(pipeline: &mut Pipeline, seeds: &[u64], sampler: &'static dyn Sampler) -> Latents {
    let mut listener = |_: Event<'_>| ControlFlow::Continue(());
    let schedule = ScheduleKind::Normal;
    let settings = Settings::default()
        .with_steps(2)
        .with_seeds(seeds.to_vec())
        .with_sampler(sampler)
        .with_schedule(schedule);
    let conditioning = pipeline.encode(&["a red apple"], &[""], &settings, &mut listener).unwrap();
    pipeline.sample(&conditioning, &settings, &mut listener).unwrap()
}

/// Each sampler draws one of the three alone: another one each time, so that every place of a batch has its turn.
#[test]
fn latents_are_the_same_alone_and_in_a_batch() {
    const SEEDS: [u64; 3] = [5, 6, 7];
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let mut pipeline = Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap();
    for (sampler, place) in samplers::ALL.iter().zip((0..SEEDS.len()).cycle()) {
        if sampler.draws_alone() {
            let settings = Settings::default().with_seeds(SEEDS.to_vec()).with_sampler(*sampler);
            let refused = settings.check(pipeline.model()).unwrap_err().to_string();
            assert!(refused.contains("draws one image at a time"), "{refused}");
            continue;
        }
        let together = latents(&mut pipeline, &SEEDS, *sampler).values;
        let length = together.len() / SEEDS.len();
        let alone = latents(&mut pipeline, &SEEDS[place..=place], *sampler).values;
        assert!(alone == together[place * length..][..length], "{} place {place}", sampler.name());
    }
}
