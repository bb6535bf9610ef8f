//! An image's bytes do not depend on the images drawn beside it.

use latent_diffusion::samplers::{self, Sampler};
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::{Event, Latents, Pipeline, Settings, loader::Checkpoint};
use std::ops::ControlFlow;
use std::path::Path;

fn latents(seeds: &[u64], sampler: &'static dyn Sampler) -> Latents {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let mut pipeline = Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap();
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

#[test]
fn latents_are_the_same_alone_and_in_a_batch() {
    for sampler in samplers::ALL {
        let together = latents(&[5, 6, 7], *sampler);
        for (seed, values) in (5..).zip(together.values.chunks_exact(together.values.len() / 3)) {
            assert!(latents(&[seed], *sampler).values == values, "{} seed {seed}", sampler.name());
        }
    }
}
