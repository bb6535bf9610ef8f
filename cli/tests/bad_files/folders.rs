//! Diffusers folders that are broken or lead out of themselves.

use crate::Room;
use crate::case::{Case, file, ones, put};

const GROUP: &str = "Folders";
const FOLDER: &str = "model";
const UNET: &str = "model/unet/diffusion_pytorch_model.safetensors";
const INDEX: &str = "model/unet/diffusion_pytorch_model.safetensors.index.json";
const SHARD: &str = "model/unet/diffusion_pytorch_model-00001-of-00002.safetensors";

fn folder(name: &str, make: impl Fn(&Room) + std::panic::RefUnwindSafe + 'static, says: &[&str]) -> Case {
    Case::path(GROUP, name, FOLDER, make, says)
}

/// A folder of some files.
fn files(name: &str, list: &'static [(&'static str, &'static [u8])], says: &[&str]) -> Case {
    folder(name, move |room| list.iter().for_each(|(name, bytes)| put(room, name, bytes)), says)
}

/// A folder with an index of shards, and the first shard.
fn index(name: &str, text: &'static str, says: &[&str]) -> Case {
    let make = move |room: &Room| {
        put(room, "model/unet/config.json", b"{}");
        put(room, SHARD, &ones(&["conv_in.weight"]));
        put(room, INDEX, text.as_bytes());
    };
    folder(name, make, says)
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = vec![
        folder(
            "an empty folder",
            |room| std::fs::create_dir(room.path(FOLDER)).unwrap(),
            &["is a folder without a model"],
        ),
        files(
            "a folder of something else",
            &[("model/notes.txt", b"nothing")],
            &["is a folder without a model"],
        ),
        files(
            "a component alone that is no file of weights",
            &[("model/config.json", b"{}"), ("model/diffusion_pytorch_model.safetensors", b"x")],
            &["model/diffusion_pytorch_model.safetensors", "begins with \"x\""],
        ),
        files(
            "a folder of pickles",
            &[("model/unet/config.json", b"{}"), ("model/unet/diffusion_pytorch_model.bin", b"PK")],
            &["diffusion_pytorch_model.bin", "is a PyTorch pickle that cannot be read: its zip archive"],
        ),
        files(
            "a list of components that is no JSON",
            &[("model/model_index.json", b"{\"unet\": [")],
            &["model_index.json", "is not valid JSON"],
        ),
        files(
            "a list of components that is a list",
            &[("model/model_index.json", b"[]")],
            &["model_index.json", "is not a JSON table"],
        ),
        files(
            "a configuration that is empty",
            &[("model/unet/config.json", b"")],
            &["unet/config.json", "is not valid JSON"],
        ),
        files(
            "a configuration that is a number",
            &[("model/unet/config.json", b"42")],
            &["is not a JSON table"],
        ),
        files(
            "a configuration that is no text",
            &[("model/unet/config.json", b"{\"a\": \"\xFF\"}")],
            &["is not valid JSON"],
        ),
        files(
            "a configuration that is a web page",
            &[("model/unet/config.json", b"<html>")],
            &["is not valid JSON"],
        ),
        files(
            "a configuration that is a Git LFS pointer",
            &[("model/vae/config.json", b"version https://git-lfs")],
            &["vae/config.json", "is not valid JSON"],
        ),
        folder(
            "a configuration of brackets",
            |room| put(room, "model/unet/config.json", &[b'['; 100_000]),
            &["is not valid JSON"],
        ),
        folder(
            "a configuration of 2 MiB",
            |room| put(room, "model/unet/config.json", &[b' '; 2 << 20]),
            &["has 2097152 bytes, more than the 1048576"],
        ),
        files(
            "weights that are empty",
            &[("model/unet/config.json", b"{}"), (UNET, b"")],
            &[UNET, "is empty"],
        ),
        files(
            "weights that are a Git LFS pointer",
            &[("model/unet/config.json", b"{}"), (UNET, b"version https://git-lfs.github.com/spec/v1\n")],
            &[UNET, "Git LFS pointer"],
        ),
        folder(
            "weights that are cut short",
            |room| {
                put(room, "model/unet/config.json", b"{}");
                let whole = ones(&["conv_in.weight"]);
                put(room, UNET, &whole[..whole.len() - 1]);
            },
            &[UNET, "is cut short"],
        ),
        folder(
            "a UNet and nothing else",
            |room| {
                put(room, "model/unet/config.json", b"{}");
                put(room, UNET, &file("{}", 0));
            },
            &["is a folder without a model"],
        ),
        folder(
            "65 sub-folders",
            |room| (0..65).for_each(|i| put(room, &format!("model/part{i}/config.json"), b"{}")),
            &["more than 64 sub-folders"],
        ),
        index("an index that is no JSON", "{", &[INDEX, "is not a valid index of shards"]),
        index("an index without a map", "{}", &[INDEX]),
        index("an index whose map is a list", r#"{"weight_map": []}"#, &[INDEX]),
        index("an index of numbers", r#"{"weight_map": {"a": 1}}"#, &[INDEX]),
        index(
            "an index that names a tensor twice",
            r#"{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}"#,
            &[INDEX],
        ),
        index(
            "a shard one folder up",
            r#"{"weight_map": {"a": "../x.safetensors"}}"#,
            &["\"../x.safetensors\"", "named without a path"],
        ),
        index(
            "a shard with an absolute path",
            r#"{"weight_map": {"a": "/etc/passwd"}}"#,
            &["\"/etc/passwd\"", "named without a path"],
        ),
        index(
            "a shard with a path of Windows",
            r#"{"weight_map": {"a": "..\\x.safetensors"}}"#,
            &["named without a path"],
        ),
        index(
            "a shard on a drive of Windows",
            r#"{"weight_map": {"a": "C:x.safetensors"}}"#,
            &["named without a path"],
        ),
        index("a shard that is no safetensors file", r#"{"weight_map": {"a": "x.bin"}}"#, &["\"x.bin\""]),
        index("a shard without a name", r#"{"weight_map": {"a": ""}}"#, &["\"\""]),
        index(
            "a shard with a zero byte",
            "{\"weight_map\": {\"a\": \"x\\u0000.safetensors\"}}",
            &["x\\u{0}.safetensors"],
        ),
        index(
            "a shard that is missing",
            r#"{"weight_map": {"conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "diffusion_pytorch_model-00002-of-00002.safetensors"}}"#,
            &["00002-of-00002.safetensors\" is missing", "\"b\""],
        ),
        index(
            "a shard without a tensor that the index lists",
            r#"{"weight_map": {"conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "diffusion_pytorch_model-00001-of-00002.safetensors"}}"#,
            &["lists tensor \"b\"", "does not hold it"],
        ),
        index(
            "a shard with a tensor that the index does not list",
            r#"{"weight_map": {"b": "diffusion_pytorch_model-00001-of-00002.safetensors"}}"#,
            &[INDEX],
        ),
    ];
    #[cfg(unix)]
    cases.extend(links());
    cases
}

#[cfg(unix)]
fn links() -> Vec<Case> {
    use std::os::unix::fs::symlink;
    let link = |at: &'static str, target: &'static str| {
        move |room: &Room| {
            put(room, "outside/x.safetensors", &ones(&["a"]));
            put(room, "outside/config.json", b"{}");
            put(room, "model/unet/config.json", b"{}");
            let _ = std::fs::remove_file(room.path(at));
            symlink(target, room.path(at)).unwrap();
        }
    };
    vec![
        folder(
            "weights that are a link to the system",
            link(UNET, "/etc/passwd"),
            &[UNET, "is a text that begins"],
        ),
        folder(
            "a configuration that is a link to the system",
            link("model/unet/config.json", "/etc/passwd"),
            &["model/unet/config.json", "is not valid JSON"],
        ),
        folder("weights that are a link to a device", link(UNET, "/dev/zero"), &[UNET]),
        folder(
            "weights that are a link to themselves",
            link(UNET, "diffusion_pytorch_model.safetensors"),
            &[UNET],
        ),
        folder(
            "weights that are a link to nowhere",
            link(UNET, "gone.safetensors"),
            &[UNET, "is a link to gone.safetensors"],
        ),
        folder(
            "weights that are a pipe",
            |room| {
                put(room, "model/unet/config.json", b"{}");
                let made = std::process::Command::new("mkfifo").arg(room.path(UNET)).status();
                assert!(made.unwrap().success());
            },
            &[UNET, "is a pipe"],
        ),
        folder(
            "weights that are a folder",
            |room| {
                put(room, "model/unet/config.json", b"{}");
                std::fs::create_dir(room.path(UNET)).unwrap();
            },
            &["model"],
        ),
    ]
}
