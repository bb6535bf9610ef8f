//! One checkpoint of the parts of several.

use crate::common::{self, Folder, f32s, tensors};
use latent_loader::{Checkpoint, CheckpointLayout, CheckpointPart, LoadError, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(new, old)| ((*new).to_owned(), (*old).to_owned())).collect()
}

fn checkpoint(label: &str, values: &[(&str, f32)]) -> Checkpoint {
    let list: Vec<_> =
        values.iter().map(|(name, value)| (*name, "F32", [1].as_slice(), f32s(&[*value]))).collect();
    Checkpoint::from_bytes(label, tensors(&list)).unwrap()
}

fn piece(checkpoint: Checkpoint, tensors: &[(&str, &str)]) -> CheckpointPart {
    CheckpointPart { checkpoint, tensors: names(tensors), configs: BTreeMap::new() }
}

#[test]
fn tensors_come_from_the_earliest_piece_that_has_them() {
    let model = checkpoint("model", &[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
    let vae = checkpoint("vae", &[("a", 10.0), ("x", 11.0)]);
    let vae = piece(vae, &[("vae.a", "a"), ("vae.x", "x"), ("vae.gone", "nowhere")]);
    let bytes = model.file_bytes() + vae.checkpoint.file_bytes();
    let whole = Checkpoint::joined(vec![piece(model, &[("unet.a", "a"), ("vae.x", "c")]), vae]);
    assert_eq!(
        (whole.layout(), whole.label(), whole.file_bytes()),
        (CheckpointLayout::Joined, "model", bytes)
    );
    let found: Vec<_> = whole.tensors().map(|t| t.name.clone()).collect();
    assert_eq!(found, ["unet.a", "vae.a", "vae.x"]);
    let value = |name: &str| whole.read(name).unwrap().to_f32().unwrap()[0];
    assert_eq!([value("unet.a"), value("vae.a"), value("vae.x")], [1.0, 10.0, 3.0]);
    assert_eq!(whole.file_of(whole.get("vae.a").unwrap()), "vae");
}

#[test]
fn an_error_names_the_file_of_the_part() {
    let model = piece(checkpoint("model", &[("a", 1.0)]), &[("unet.a", "a")]);
    let vae = piece(checkpoint("vae", &[("a", f32::NAN)]), &[("vae.a", "a")]);
    let weights = Weights::new(Arc::new(Checkpoint::joined(vec![model, vae])));
    let file = |error: LoadError| error.to_string().split(':').next().unwrap().to_owned();
    assert_eq!(file(weights.get("vae.b", &[1]).unwrap_err()), "vae");
    assert_eq!(file(weights.get("unet.b", &[1]).unwrap_err()), "model");
    assert_eq!(file(weights.get("other.b", &[1]).unwrap_err()), "model");
    assert_eq!(file(weights.get("vae.a", &[1]).unwrap_err()), "vae");
    assert_eq!(file(weights.get("vae.a", &[2]).unwrap_err()), "vae");
}

#[test]
fn weights_over_others_are_those_of_both() {
    let own = checkpoint("own", &[("net.a", 1.0), ("net.b.up", 2.0), ("net.bad", f32::NAN)]);
    let base = checkpoint("base", &[("unet.a", 10.0), ("unet.b", 11.0), ("vae.c", 12.0)]);
    let [own, base] = [own, base].map(|checkpoint| Weights::new(Arc::new(checkpoint)));
    let own = own.scope("net").only(|name| !name.ends_with(".up"));
    let both = own.over(&base.scope("unet"));
    assert_eq!(both.names().collect::<Vec<_>>(), ["a", "b", "bad"]);
    assert_eq!((both.label(), both.total_bytes()), ("own", 12));
    let value = |name: &str| both.get(name, &[1]).map(|raw| raw.to_f32().unwrap()[0]);
    assert_eq!([value("a").unwrap(), value("b").unwrap()], [1.0, 11.0]);
    let file = |error: LoadError| error.to_string().split(':').next().unwrap().to_owned();
    assert_eq!(file(value("bad").unwrap_err()), "own");
    assert_eq!(file(both.get("b", &[2]).unwrap_err()), "base");
    assert_eq!(file(value("c").unwrap_err()), "own");
    // And those over a third.
    let third = Weights::new(Arc::new(checkpoint("third", &[("a", 5.0), ("d", 6.0)])));
    let all = both.over(&third);
    assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b", "bad", "d"]);
    assert_eq!(all.get("b", &[1]).unwrap().to_f32().unwrap(), [11.0]);
}

#[test]
fn configurations_are_taken_under_other_names() {
    let folder = Folder::new();
    folder.write("vae/config.json", r#"{"scaling_factor": 0.5}"#);
    folder.write("vae/diffusion_pytorch_model.safetensors", common::ones(&["a"]));
    let model = piece(checkpoint("model", &[("a", 1.0)]), &[("unet.a", "a")]);
    let vae = CheckpointPart {
        checkpoint: Checkpoint::open(&folder.path("vae")).unwrap(),
        tensors: names(&[("vae.a", "a")]),
        configs: names(&[("vae", ""), ("scheduler", "scheduler")]),
    };
    let whole = Checkpoint::joined(vec![model, vae]);
    assert_eq!(whole.config("vae").unwrap().get_f64("scaling_factor"), Some(0.5));
    assert!(whole.config("scheduler").is_none());
}
