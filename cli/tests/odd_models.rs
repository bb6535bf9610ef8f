//! Models that are not as they should be, and that draw all the same; those that are refused are in `bad_files`.

use crate::common::{Room, demo, read_png, synthetic_folder};

const DRAW: [&str; 11] =
    ["txt2img", "a red apple", "-s", "1", "--steps", "1", "-W", "64", "-H", "64", "--output"];

fn pixels(room: &Room, args: &[&str]) -> Vec<u8> {
    room.succeeds(&[&DRAW[..], &["a.png"], args].concat());
    read_png(&room.path("a.png")).0
}

#[test]
fn a_tensor_that_nothing_uses_is_told_and_left_alone() {
    let room = Room::new();
    let whole = demo();
    let start = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&whole[8..start]).unwrap();
    let end = whole.len() - start;
    for (i, name) in ["model.diffusion_model.out.9.weight", "mine"].into_iter().enumerate() {
        let range = [end + 4 * i, end + 4 * i + 4];
        header[name] = serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": range});
    }
    let header = header.to_string();
    let more = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &whole[start..], &[0; 8]].concat();
    room.file("more.safetensors", &more);
    let told = room.succeeds(&["inspect", "more.safetensors"]);
    assert!(told.contains("not used") && told.contains("out.9.weight"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("other ") && line.contains("1 tensors")), "{told}");
    assert!(pixels(&room, &["-m", "more.safetensors"]) == pixels(&room, &[]));
}

/// The vocabulary is built in, as all of Stable Diffusion share it: a folder's own is not read.
#[test]
fn a_broken_vocabulary_changes_nothing() {
    let room = Room::new();
    synthetic_folder("sd15", &room.path("model"));
    let whole = pixels(&room, &["-m", "model"]);
    std::fs::create_dir_all(room.path("model/tokenizer")).unwrap();
    for (name, text) in [("vocab.json", &b"{\"a\": -1, \"a\""[..]), ("merges.txt", b"\xFF\0 a b c\n")] {
        std::fs::write(room.path("model/tokenizer").join(name), text).unwrap();
    }
    assert!(whole == pixels(&room, &["-m", "model"]));
}
