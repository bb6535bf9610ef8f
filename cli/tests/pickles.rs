//! Files that PyTorch pickled: drawn from, listed and converted as safetensors are, and never run.

use crate::common::{Room, demo, read_png, synthetic};
use crate::upscale::esrgan;
use latent_loader::{Checkpoint, DType, NewTensor, Writer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A zip archive of stored files, which `torch.save` writes.
fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = out.len() as u32;
        let (len, name_len) = ((bytes.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let middle = [&[0; 12][..], &len, &len, &name_len, &[0, 0]].concat();
        out.extend([&b"PK\x03\x04\x0a\0"[..], &middle, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02\x0a\0\x0a\0"[..], &middle, &[0; 10]].concat());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, len, count) = (out.len() as u32, directory.len() as u32, (files.len() as u16).to_le_bytes());
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &len.to_le_bytes(), &start.to_le_bytes(), &[0, 0]];
    [out, directory, end.concat()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn numbers(numbers: &[usize]) -> Vec<u8> {
    let one = |number: &usize| [b"J", &(*number as u32).to_le_bytes()[..]].concat();
    [b"(".to_vec(), numbers.iter().flat_map(one).collect(), b"t".to_vec()].concat()
}

/// The tensors of a safetensors file as `torch.save` pickles them, below `key` if one is given.
pub(crate) fn pickled(file: &[u8], key: Option<&str>) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let (mut pickle, mut files) = (b"\x80\x02}".to_vec(), Vec::new());
    if let Some(key) = key {
        pickle.extend([text("global_step"), b"K\x07s".to_vec(), text(key), b"}".to_vec()].concat());
    }
    for (name, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
        let [start, end]: [usize; 2] = serde_json::from_value(tensor["data_offsets"].clone()).unwrap();
        let data = file[8 + length..][start..end].to_vec();
        let class = match tensor["dtype"].as_str().unwrap() {
            "F16" => "HalfStorage",
            "BF16" => "BFloat16Storage",
            "F32" => "FloatStorage",
            "I64" => "LongStorage",
            other => panic!("{other}"),
        };
        let index = files.len().to_string();
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let values = [b"J", &(shape.iter().product::<usize>() as u32).to_le_bytes()[..]].concat();
        pickle.extend(
            [
                text(name),
                b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
                [text("storage"), format!("ctorch\n{class}\n").into(), text(&index), text("cpu"), values]
                    .concat(),
                b"tQK\0".to_vec(),
                numbers(&shape),
                numbers(&strides),
                b"\x89ccollections\nOrderedDict\n)RtRs".to_vec(),
            ]
            .concat(),
        );
        files.push((format!("archive/data/{index}"), data));
    }
    pickle.extend(if key.is_some() { &b"s."[..] } else { b"." });
    files.insert(0, ("archive/data.pkl".to_owned(), pickle));
    zip(&files)
}

#[test]
fn a_pickle_takes_linear_time() {
    let make = |count: usize| {
        let mut tensors: Vec<NewTensor> = (0..count)
            .map(|index| NewTensor { name: format!("layer.{index}"), dtype: DType::F32, shape: vec![1, 1] })
            .collect();
        let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors).unwrap();
        writer.write(&vec![0; 4 * count]).unwrap();
        pickled(&writer.end().unwrap(), Some("state_dict"))
    };
    let open = |file: &Vec<u8>| Checkpoint::from_bytes("pickle", file.clone()).unwrap().tensors().count();
    assert_eq!(open(&make(300)), 300);
    latent_benches::growth::assert_linear("a pickle", 200, make, open);
}

/// An archive whose pickle runs a command in Python.
fn evil() -> Vec<u8> {
    let call = [b"\x80\x02cposix\nsystem\n(".to_vec(), text("touch hacked"), b"tR.".to_vec()].concat();
    zip(&[("archive/data.pkl".to_owned(), call)])
}

fn pixels(room: &Room, args: &[&str]) -> Vec<u8> {
    let always =
        ["txt2img", "a red apple", "--steps", "2", "-s", "3", "-W", "64", "-H", "64", "-o", "out.png"];
    room.succeeds(&[&always[..], args].concat());
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    pixels
}

#[test]
fn a_pickled_model_draws_what_its_safetensors_file_draws() {
    let room = Room::new();
    std::fs::create_dir(room.path("here")).unwrap();
    room.file("plain.safetensors", &demo());
    room.file("here/old.ckpt", &pickled(&demo(), Some("state_dict")));
    let plain = pixels(&room, &["-m", "plain.safetensors"]);
    assert!(plain == pixels(&room, &["-m", "here/old.ckpt"]));
    // Mapped, and found by its name.
    assert!(plain == pixels(&room, &["-m", "old", "--models-dir", "here", "--low-memory"]));
    let list: Value =
        serde_json::from_str(&room.succeeds(&["models", "--models-dir", "here", "--json"])).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["base"]), (&json!("old"), &json!("sd1")));
    let report: Value =
        serde_json::from_str(&room.succeeds(&["inspect", "here/old.ckpt", "--json"])).unwrap();
    assert_eq!(report["metadata"]["global_step"], json!("7"));
    // Converted, it has the same tensors.
    room.succeeds(&["convert", "here/old.ckpt", "here/old.safetensors"]);
    assert!(plain == pixels(&room, &["-m", "here/old.safetensors"]));
    // Of a pickle and what was made of it, the name means the latter.
    assert!(plain == pixels(&room, &["-m", "old", "--models-dir", "here"]));
}

#[test]
fn a_pickled_word_is_used() {
    let room = Room::new();
    let word = embedding(demo_width());
    for folder in ["plain", "old"] {
        std::fs::create_dir(room.path(folder)).unwrap();
    }
    room.file("plain/cat.safetensors", &word);
    room.file("old/cat.pt", &pickled(&word, Some("string_to_param")));
    let draw = |folder| pixels(&room, &["--embd-dir", folder, "-n", "cat"]);
    assert!(draw("plain") == draw("old"));
    assert!(draw("old") != pixels(&room, &["-n", "cat"]));
}

/// What of the same shapes is in a safetensors file and in a pickle is one thing to every option that names it.
#[test]
fn pickled_vaes_control_nets_and_upscalers_are_used() {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("inpaint.safetensors", &synthetic("sd15-inpaint"));
    room.succeeds(&["convert", "inpaint.safetensors", "parts"]);
    let vae = std::fs::read(room.path("parts/vae/diffusion_pytorch_model.safetensors")).unwrap();
    let net = synthetic("controlnet-sd15");
    room.succeeds(&["txt2img", "a square", "--steps", "1", "-s", "3", "-o", "square.png"]);
    let draw = |args: &[&str]| pixels(&room, &[&["-m", "model.safetensors"], args].concat());
    let plain = draw(&[]);
    for (option, file, key) in [("--vae", vae, Some("state_dict")), ("--control-net", net, None)] {
        room.file("part.safetensors", &file);
        room.file("part.pth", &pickled(&file, key));
        let image: &[&str] = if option == "--vae" { &[] } else { &["--control-image", "square.png"] };
        let with = |part| draw(&[&[option, part], image].concat());
        let want = with("part.safetensors");
        // The model has the weights of the VAE already.
        assert!(option == "--vae" || want != plain, "{option}");
        assert!(want == with("part.pth"), "{option}");
    }
    // Trainers of upscalers save a copy of the weights beside them, which is the better one.
    room.file("4x.pth", &pickled(&esrgan(1), Some("params_ema")));
    room.file("4x.safetensors", &esrgan(1));
    let larger = |model| {
        room.succeeds(&["upscale", "square.png", "--upscale-model", model, "-o", "large.png"]);
        let (pixels, _) = read_png(&room.path("large.png"));
        std::fs::remove_file(room.path("large.png")).unwrap();
        pixels
    };
    assert!(larger("4x.pth") == larger("4x.safetensors"));
}

/// The width of the demo model's token table.
fn demo_width() -> usize {
    let file = demo();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let table = header.as_object().unwrap().iter().find(|(name, _)| name.ends_with("token_embedding.weight"));
    table.unwrap().1["shape"][1].as_u64().unwrap() as usize
}

/// A word of two vectors.
fn embedding(width: usize) -> Vec<u8> {
    let header =
        format!(r#"{{"emb_params":{{"dtype":"F32","shape":[2,{width}],"data_offsets":[0,{}]}}}}"#, 8 * width);
    let values = (0..2 * width).flat_map(|i| ((i % 7) as f32 / 20.0).to_le_bytes());
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values.collect::<Vec<_>>()].concat()
}

#[test]
fn a_pickle_that_would_run_something_is_refused_with_its_name_by_every_command() {
    let room = Room::new();
    room.file("evil.ckpt", &evil());
    room.file("model.safetensors", &demo());
    let would = "posix.system(\"touch hacked\") (byte 16)";
    for args in [
        &["inspect", "evil.ckpt"][..],
        &["txt2img", "a fox", "-m", "evil.ckpt"],
        &["txt2img", "a fox", "-m", "model.safetensors", "--vae", "evil.ckpt"],
        &["txt2img", "a fox", "-m", "model.safetensors", "--lora", "evil.ckpt"],
        &["convert", "evil.ckpt", "new.safetensors"],
    ] {
        room.refuses(args, &["evil.ckpt: is a PyTorch pickle that asks for", would, "nothing of it was run"]);
    }
    let list = room.succeeds(&["models", "--models-dir", "."]);
    assert!(list.contains("cannot be opened") && list.contains("posix.system"), "{list}");
    assert_eq!(room.files(), ["evil.ckpt", "model.safetensors"]);
}

/// As of a folder that `huggingface-cli download --local-dir` made, or of a VAE that several models share.
#[cfg(unix)]
#[test]
fn a_folder_may_link_to_weights_elsewhere() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    room.succeeds(&["convert", "model.safetensors", "folder"]);
    let plain = pixels(&room, &["-m", "folder"]);
    for (index, name) in ["vae/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"]
        .into_iter()
        .enumerate()
    {
        let (file, kept) = (room.path("folder").join(name), room.path(&format!("kept{index}")));
        std::fs::rename(&file, &kept).unwrap();
        std::os::unix::fs::symlink(&kept, &file).unwrap();
    }
    assert!(plain == pixels(&room, &["-m", "folder"]));
    room.succeeds(&["inspect", "folder"]);
}
