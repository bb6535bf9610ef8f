//! What `torch.save` writes is read byte for byte. The files are those of make.py.

use super::writer::{Pickle, legacy, one_tensor, torch_zip};
use crate::common::{Folder, f32s};
use latent_loader::{Access, Checkpoint, DType, Weights};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickles").join(name)
}

/// Asserts that a file has tensors of `expected.safetensors`, and nothing else: all but those of `without`.
fn assert_same(name: &str, without: impl Fn(&str) -> bool) {
    assert_same_as(&golden(name), &golden("expected.safetensors"), without);
}

/// Asserts that a file has tensors of another, and nothing else: all but those of `without`.
fn assert_same_as(path: &Path, expected: &Path, without: impl Fn(&str) -> bool) {
    let name = path.display();
    let expected = Checkpoint::open(expected).unwrap();
    for access in [Access::Read, Access::Map] {
        let found = Checkpoint::open_with(path, access).unwrap_or_else(|error| panic!("{error}"));
        for info in expected.tensors().filter(|info| !without(&info.name)) {
            let (want, got) = (expected.read(&info.name).unwrap(), found.read(&info.name).unwrap());
            assert_eq!((want.dtype, want.shape), (got.dtype, got.shape), "{name}: {}", info.name);
            assert!(*want.data == *got.data, "{name}: {}", info.name);
            assert_eq!(found.get(&info.name).unwrap().bytes(), got.data.len());
        }
        let count = expected.tensors().filter(|info| !without(&info.name)).count();
        assert_eq!(found.tensors().count(), count, "{name}");
    }
}

#[test]
fn files_of_every_protocol_have_the_same_tensors() {
    for protocol in 1..=5 {
        assert_same(&format!("zip-{protocol}.pt"), |_| false);
    }
    for protocol in 2..=5 {
        assert_same(&format!("legacy-{protocol}.pt"), |name| name == "f8");
    }
}

/// The files of versions.py: a folder for each version, and more of them where `LATENT_PICKLES` names a folder.
#[test]
fn versions_of_pytorch_have_the_same_tensors() {
    let mut count = 0;
    let more = std::env::var_os("LATENT_PICKLES").map(PathBuf::from);
    for folder in std::iter::once(golden("versions")).chain(more) {
        for version in std::fs::read_dir(folder).unwrap() {
            for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "pt") {
                    // `views.zip2.pt` has the tensors of `views.safetensors`.
                    let stem = path.with_extension("");
                    assert_same_as(&path, &stem.with_extension("safetensors"), |_| false);
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 7, "{count} files");
    println!("{count} files");
}

/// A bit is changed in each file of an archive, at one place after the other.
#[test]
fn archives_whose_bytes_are_not_those_that_were_saved_are_refused() {
    let whole = std::fs::read(golden("zip-4.pt")).unwrap();
    let read_all = |bytes: Vec<u8>| {
        let checkpoint = Checkpoint::from_bytes("archive", bytes)?;
        checkpoint.tensors().try_for_each(|info| checkpoint.read(&info.name).map(drop))
    };
    read_all(whole.clone()).unwrap();
    let number = |at: usize| usize::from(u16::from_le_bytes([whole[at], whole[at + 1]]));
    let mut checked = 0;
    for entry in (0..whole.len()).filter(|at| whole[*at..].starts_with(b"PK\x01\x02")) {
        // The directory's entry, and behind its place the file: each is shorter than 64 KiB.
        let (len, at) = (number(entry + 24), number(entry + 42));
        let name = String::from_utf8_lossy(&whole[entry + 46..][..number(entry + 28)]).into_owned();
        let start = at + 30 + number(at + 26) + number(at + 28);
        for at in (start..start + len).step_by(7) {
            let mut mutant = whole.clone();
            mutant[at] ^= 1;
            let read = read_all(mutant);
            if name.contains("/data/") {
                let error = read.expect_err(&name).to_string();
                assert!(error.contains("their CRC-32 differs); download it again"), "{name}: {error}");
            } else if name.ends_with("data.pkl") {
                assert!(read.is_err(), "{name} at {at}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_tar_archive_of_the_first_pytorch_has_the_same_tensors() {
    let of_others = ["bfloat16", "float64", "int32", "int16", "int8", "uint8", "bool", "f8", "empty"];
    assert_same("tar.pt", |name| of_others.contains(&name));
}

/// Any other tar archive is what it is.
#[test]
fn a_tar_archive_of_something_else_is_named() {
    let mut tar = std::fs::read(golden("tar.pt")).unwrap();
    tar[..8].copy_from_slice(b"somefile");
    let found = (0..tar.len()).filter(|at| tar[*at..].starts_with(b"storages\0")).collect::<Vec<_>>();
    tar[found[0]] = b'x';
    for bytes in [tar.clone(), tar[..700].to_vec()] {
        let error = Checkpoint::from_bytes("other", bytes).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("other: is a tar archive; unpack it"), "{error}");
    }
}

#[test]
fn of_a_trainers_checkpoint_the_weights_are_read() {
    for name in ["lightning.ckpt", "lightning-legacy.ckpt"] {
        let checkpoint = Arc::new(Checkpoint::open(&golden(name)).unwrap());
        let names: Vec<_> = checkpoint.tensors().map(|info| info.name.clone()).collect();
        assert_eq!(names, ["bias", "weight"]);
        assert_eq!(checkpoint.metadata()["global_step"], "470000");
        let weights = Weights::new(checkpoint);
        assert_eq!(weights.get("weight", &[3, 2]).unwrap().to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(weights.get("bias", &[3]).unwrap().to_f32().unwrap(), [0.5, 1.5, 2.5]);
    }
}

#[test]
fn of_a_textual_inversion_the_word_is_read() {
    for name in ["inversion.pt", "inversion-legacy.pt"] {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let names: Vec<_> = checkpoint.tensors().map(|info| info.name.clone()).collect();
        assert_eq!((names, &*checkpoint.metadata()["name"]), (vec!["*".to_owned()], "cat"));
        assert_eq!(checkpoint.read("*").unwrap().shape, [2, 4]);
    }
}

#[test]
fn the_entry_that_holds_the_weights_is_taken() {
    let tensor = |p: Pickle, key: &str| p.tensor("FloatStorage", (key, 1), 0, &[1], &[1]);
    let nested = |keys: &[&str]| {
        let mut pickle = Pickle::new(2).op(b"}");
        for (index, key) in keys.iter().enumerate() {
            pickle = tensor(pickle.text(key).op(b"}").text("w"), &index.to_string()).op(b"ss");
        }
        let data: Vec<Vec<u8>> = (0..keys.len()).map(|index| f32s(&[index as f32])).collect();
        let storages: Vec<_> = ["0", "1"].into_iter().zip(&data).map(|(key, data)| (key, &**data)).collect();
        let file = torch_zip(&pickle.end(), &storages);
        let checkpoint = Checkpoint::from_bytes("nested", file).unwrap();
        let names: Vec<_> = checkpoint.tensors().map(|info| info.name.clone()).collect();
        let first = checkpoint.read(&names[0]).unwrap().to_f32().unwrap()[0];
        (names.join(" "), first)
    };
    assert_eq!(nested(&["params", "params_ema"]), ("w".to_owned(), 1.0));
    assert_eq!(nested(&["optimizer", "state_dict"]), ("w".to_owned(), 1.0));
    assert_eq!(nested(&["model"]), ("w".to_owned(), 0.0));
    assert_eq!(nested(&["clip_g", "clip_l"]), ("clip_g.w clip_l.w".to_owned(), 0.0));
    // Values of a later entry of the same key count, as in Python; a file of one tensor gives it a name.
    let twice = tensor(tensor(Pickle::new(2).op(b"}").text("a"), "0").op(b"s").text("a"), "1").op(b"s").end();
    let file = torch_zip(&twice, &[("0", &f32s(&[1.0])), ("1", &f32s(&[2.0]))]);
    assert_eq!(Checkpoint::from_bytes("twice", file).unwrap().read("a").unwrap().to_f32().unwrap(), [2.0]);
    let file = torch_zip(&tensor(Pickle::new(2), "0").end(), &[("0", &f32s(&[1.0]))]);
    assert_eq!(Checkpoint::from_bytes("one", file).unwrap().tensors().next().unwrap().name, "tensor");
}

#[test]
fn a_part_of_a_storage_is_read_where_it_is() {
    // The form before version 0.4 names parts of storages as storages: key, first value, number of values.
    let view = |first: i64, count: i64| {
        let pickle = Pickle::new(2).op(b"}").text("a").global("torch._utils", "_rebuild_tensor").op(b"(");
        let pickle =
            pickle.op(b"(").text("storage").global("torch", "FloatStorage").text("k").text("cpu").int(4);
        let pickle = pickle.op(b"(").text("v").int(first).int(count).op(b"ttQ");
        let pickle = pickle.int(0).numbers(&[count]).numbers(&[1]).op(b"tRs").end();
        Checkpoint::from_bytes("view", legacy(&pickle, &[("k", 4, &f32s(&[0.0, 1.0, 2.0, 3.0]))]))
    };
    assert_eq!(view(1, 2).unwrap().read("a").unwrap().to_f32().unwrap(), [1.0, 2.0]);
    assert!(view(3, 2).is_err() && view(-1, 2).is_err());
}

#[test]
fn a_folder_of_pickles_opens() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/diffusion_pytorch_model.bin", torch_zip(&one_tensor(2), &[("0", &f32s(&[1.0, 2.0]))]));
    folder.write("text_encoder/config.json", "{}");
    let index = r#"{"weight_map":{"a":"pytorch_model-00001-of-00001.bin"}}"#;
    folder.write("text_encoder/pytorch_model.bin.index.json", index);
    let shard = torch_zip(&one_tensor(1), &[("0", &f32s(&[3.0]))]);
    folder.write("text_encoder/pytorch_model-00001-of-00001.bin", shard);
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    let values = |name: &str| checkpoint.read(name).unwrap().to_f32().unwrap();
    assert_eq!((values("unet.a"), values("text_encoder.a")), (vec![1.0, 2.0], vec![3.0]));
    // Where both are there, the safetensors file is taken.
    folder.write("unet/diffusion_pytorch_model.safetensors", crate::common::ones(&["b"]));
    assert!(Checkpoint::open(&folder.path("")).unwrap().get("unet.b").is_some());
}

#[test]
fn storages_of_another_length_are_refused() {
    for (values, bytes) in [(4, 15), (4, 17), (5, 16)] {
        let file = torch_zip(&one_tensor(values), &[("0", &vec![0; bytes])]);
        assert!(Checkpoint::from_bytes("length", file).is_err());
    }
    assert_eq!(DType::F32.size(), 4);
}
