//! Whole runs with random masks: what lies outside stays, byte for byte.

use latent_diffusion::{Event, Fill, Image, Mask, Pipeline, Settings, Task, loader::Checkpoint};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::Path;

/// Sides that are no multiples of the VAE's factor are among them.
fn masks() -> impl Strategy<Value = Mask> {
    (40_usize..72, 40_usize..72).prop_flat_map(|(width, height)| {
        let shapes = prop::collection::vec((0..width, 0..height, 1..width, 1..height, any::<u8>()), 1..5);
        shapes.prop_map(move |shapes| {
            let mut mask = Mask::filled(width, height, 0);
            for (left, top, wide, high, value) in shapes {
                for y in top..(top + high).min(height) {
                    mask.values[y * width..][left..(left + wide).min(width)].fill(value);
                }
            }
            mask
        })
    })
}

#[test]
fn nothing_outside_of_a_mask_changes() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let pipeline = RefCell::new(Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap());
    let changed = Cell::new(0);
    let fills = prop::sample::select(Fill::ALL);
    let cases = (masks(), 0.3..=1.0_f64, 0.0..8.0_f64, fills, any::<u64>());
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let draw = |(mask, strength, feather, fill, seed): (Mask, f64, f64, Fill, u64)| {
        let Mask { width, height, .. } = mask;
        let rgb = (0..3 * width * height).map(|i| (i * 97 % 251) as u8).collect();
        let image = Image { width, height, rgb };
        let task = Task::Inpaint { image: &image, mask: &mask, strength, fill, feather };
        let mut pipeline = pipeline.borrow_mut();
        let settings = Settings::of(pipeline.model()).with_steps(4).with_seeds(vec![seed]);
        let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
        let drawn = pipeline.draw(&task, "a red apple", "", &settings, &mut go_on).unwrap();
        let pixels = drawn[0].rgb.chunks_exact(3).zip(image.rgb.chunks_exact(3));
        for (i, ((new, old), value)) in pixels.zip(&mask.values).enumerate() {
            prop_assert!(*value > 0 || new == old, "pixel {i}: {old:?} is {new:?}");
            changed.set(changed.get() + usize::from(new != old));
        }
        Ok(())
    };
    TestRunner::new(config).run(&cases, draw).unwrap();
    assert!(changed.get() > 1000, "something is drawn");
}
