//! Models in other layouts and number formats: the same tensors, and the same images.

mod formats;
mod layouts;
mod marks;
mod models;
mod q8_0;
mod transformers;

use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
use latent_diffusion::families::Model;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::{Fill, Image, Mask, Pipeline, Settings, Task};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder for new models.
struct Room(TempDir);

impl Room {
    fn new() -> Room {
        Room(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Checkpoint {
        Checkpoint::open(&self.path(name)).unwrap()
    }

    /// Converts a model and opens the new one.
    fn convert(&self, checkpoint: Checkpoint, options: &ConvertOptions, name: &str) -> Checkpoint {
        let conversion = Conversion::plan(checkpoint, options).unwrap();
        conversion.write(&self.path(name), &mut |_| ControlFlow::Continue(())).unwrap();
        self.open(name)
    }

    fn folder(&self, checkpoint: Checkpoint, name: &str) -> Checkpoint {
        self.convert(checkpoint, &ConvertOptions::to(OutputLayout::Folder), name)
    }

    fn single(&self, checkpoint: Checkpoint, name: &str) -> Checkpoint {
        self.convert(checkpoint, &ConvertOptions::to(OutputLayout::Single), name)
    }
}

/// Number format, shape and bytes of a tensor.
type Contents = (String, Vec<usize>, Vec<u8>);

/// All tensors of a checkpoint.
fn contents(checkpoint: &Checkpoint) -> BTreeMap<String, Contents> {
    let tensor = |info: &latent_diffusion::loader::TensorInfo| {
        let data = checkpoint.read(&info.name).unwrap().data.to_vec();
        (info.name.clone(), (info.dtype.to_string(), info.shape.clone(), data))
    };
    checkpoint.tensors().map(tensor).collect()
}

/// Tells of the first tensors that differ.
#[track_caller]
fn assert_same(found: &BTreeMap<String, Contents>, expected: &BTreeMap<String, Contents>) {
    let names = |a: &BTreeMap<String, Contents>, b: &BTreeMap<String, Contents>| -> Vec<String> {
        a.keys().filter(|name| !b.contains_key(*name)).take(5).cloned().collect()
    };
    let (more, fewer) = (names(found, expected), names(expected, found));
    assert!(more.is_empty() && fewer.is_empty(), "too many: {more:?}, missing: {fewer:?}");
    for (name, (dtype, shape, data)) in expected {
        let (found_dtype, found_shape, found_data) = &found[name];
        assert_eq!((found_dtype, found_shape), (dtype, shape), "{name}");
        assert!(found_data == data, "{name}: other numbers");
    }
}

/// A small image that a model draws, in the way that it was made for.
fn draw(checkpoint: Checkpoint) -> Image {
    const SIDE: usize = 64;
    let mut pipeline = Pipeline::open(checkpoint).unwrap();
    let rgb = (0..SIDE * SIDE * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = &Image { width: SIDE, height: SIDE, rgb };
    let mask = &Mask::filled(SIDE, SIDE, 255);
    let task = match pipeline.model().input {
        latent_diffusion::families::NetworkInput::Latent => Task::TextToImage,
        latent_diffusion::families::NetworkInput::Inpaint => {
            Task::Inpaint { image, mask, strength: 1.0, fill: Fill::Noise, feather: 0.0 }
        }
        latent_diffusion::families::NetworkInput::Edit => Task::Edit { image, guidance: 1.5 },
    };
    let own = Settings::of(pipeline.model());
    let settings = own.with_width(Some(SIDE)).with_height(Some(SIDE)).with_steps(2).with_seeds(vec![7]);
    let settings = task.sized(settings, pipeline.model());
    let go_on = &mut |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    pipeline.draw(&task, "a red fox", "rain", &settings, go_on).unwrap().remove(0)
}

/// What a pipeline takes from a model beside its weights.
#[track_caller]
fn assert_same_sizes(a: &Checkpoint, b: &Checkpoint) {
    // A checkpoint is opened again: a model keeps it.
    let model = |checkpoint: &Checkpoint| {
        Model::detect(&Arc::new(Checkpoint::open(checkpoint.label().as_ref()).unwrap())).unwrap()
    };
    let (a, b) = (model(a), model(b));
    assert_eq!((a.family.id, a.resolution, a.input), (b.family.id, b.resolution, b.input));
    assert_eq!((&a.network, &a.vae), (&b.network, &b.vae));
    assert_eq!((a.prediction, a.training), (b.prediction, b.training));
    assert_eq!((a.zero_negative, a.takes_score), (b.zero_negative, b.takes_score));
    assert_eq!((a.distillation, a.named_steps), (b.distillation, b.named_steps));
}
