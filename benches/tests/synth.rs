//! Synthetic checkpoints against the published check values: single elements and whole files.

use std::fs;
use std::path::{Path, PathBuf};

use latent_benches::rule::FillRule;
use latent_benches::stream::RandomStream;
use latent_benches::{DType, Manifest, synth};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rows(path: &str) -> Vec<Value> {
    serde_json::from_str(&read(&here(path))).expect("a JSON list")
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} of {row}"))
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} of {row}"))
}

fn hex(row: &Value, key: &str, i: usize) -> u64 {
    u64::from_str_radix(row[key][i].as_str().expect("a hexadecimal string"), 16).expect("hexadecimal")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A manifest with the one tensor that a row of check values is about.
fn manifest_of(row: &Value) -> Manifest {
    let entry = serde_json::json!({"name": row["name"], "dtype": "W", "shape": row["shape"]});
    Manifest::parse(&serde_json::json!({"files": {"x": [entry]}}).to_string()).expect("a manifest")
}

#[test]
fn single_elements_have_the_published_bits() {
    for row in rows("tests/data/synth_vectors.json") {
        let (name, seed) = (text(&row, "name"), number(&row, "seed"));
        let shape: Vec<usize> = serde_json::from_value(row["shape"].clone()).expect("a shape");
        let (stream, rule) = (RandomStream::new(name, seed), FillRule::of(name, &shape));
        assert_eq!(format!("{:016x}", stream.state()), text(&row, "state"), "{row}");
        assert_eq!(format!("{:016x}", stream.bits(0)), text(&row, "bits0"), "{row}");
        assert_eq!(format!("{:016x}", rule.half_width.to_bits()), text(&row, "half_width_f64"), "{row}");
        assert_eq!(Some(rule.centre), row["centre"].as_f64(), "{row}");

        let manifest = manifest_of(&row);
        let entry = &manifest.files()["x"][0];
        let single = synth::tensor_f32(entry, seed, DType::F32);
        let half = synth::tensor_f32(entry, seed, DType::F16);
        let brain = synth::tensor_f32(entry, seed, DType::BF16);
        for (i, index) in row["index"].as_array().expect("a list").iter().enumerate() {
            let at = index.as_u64().expect("an index") as usize;
            let exact = rule.value(stream.unit(at as u64), at);
            assert_eq!(exact.to_bits(), hex(&row, "value_f64", i), "{row}");
            assert_eq!(u64::from(single[at].to_bits()), hex(&row, "f32", i), "{row}");
            assert_eq!(u64::from(half::f16::from_f32(half[at]).to_bits()), hex(&row, "f16", i), "{row}");
            assert_eq!(u64::from(brain[at].to_bits() >> 16), hex(&row, "bf16", i), "{row}");
        }
        let file = synth::bytes(manifest.files()["x"].as_slice(), seed, DType::F16);
        let data = &file[file.len() - 2 * single.len()..];
        assert_eq!(sha256(data), text(&row, "sha256_f16"), "{row}");
    }
}

#[test]
fn whole_files_have_the_published_hashes() {
    let mut checked = Vec::new();
    for row in rows("../diffusion/tests/reference/hashes.json") {
        // The turbo model has the tensors of the base model and shares its manifest.
        let family = text(&row, "family").replace("sdxl-turbo", "sdxl");
        let name = format!("{family}-{}-{}.json", text(&row, "scale"), text(&row, "layout"));
        let path = here("../diffusion/tests/reference/manifests").join(name);
        if !path.exists() {
            continue; // only the families that the reference data use are part of the repository
        }
        let manifest = Manifest::parse(&read(&path)).expect("a manifest");
        let file = text(&row, "file").replace("sdxl-turbo", "sdxl");
        let dtype = synth::parse_dtype(text(&row, "dtype")).expect("a dtype");
        let bytes = synth::bytes(&manifest.files()[&file], number(&row, "seed"), dtype);
        assert_eq!(bytes.len() as u64, number(&row, "bytes"), "{row}");
        assert_eq!(sha256(&bytes), text(&row, "sha256"), "{row}");
        checked.push(format!("{family}/{}", text(&row, "layout")));
    }
    for wanted in ["sd15/single", "sd15/diffusers", "sd21/single", "sdxl/single", "sdxl-refiner/single"] {
        assert!(checked.iter().any(|c| c == wanted), "{wanted} was not among {checked:?}");
    }
}

/// Fused and split projections, renamed, transposed and squeezed tensors hold the same numbers as their source.
#[test]
fn derived_tensors_follow_their_source() {
    let manifest = Manifest::parse(
        r#"{"files": {"x": [
            {"name": "attn.in_proj_weight", "dtype": "W", "shape": [6, 4]},
            {"name": "k", "dtype": "W", "shape": [2, 4], "src": "attn.in_proj_weight", "src_shape": [6, 4],
             "rows": [2, 4]},
            {"name": "t", "dtype": "W", "shape": [4, 6], "src": "attn.in_proj_weight", "src_shape": [6, 4],
             "op": "t"},
            {"name": "conv", "dtype": "W", "shape": [6, 4, 1, 1]},
            {"name": "linear", "dtype": "W", "shape": [6, 4], "src": "conv", "src_shape": [6, 4, 1, 1],
             "op": "squeeze"}]}}"#,
    )
    .expect("a manifest");
    let tensors: Vec<Vec<f32>> =
        manifest.files()["x"].iter().map(|e| synth::tensor_f32(e, 5, DType::F16)).collect();
    let [fused, k, transposed, conv, linear] = &tensors[..] else { panic!("five tensors") };
    assert_eq!(k[..], fused[8..16]);
    assert_eq!(linear, conv);
    for row in 0..6 {
        for column in 0..4 {
            assert_eq!(transposed[column * 6 + row], fused[row * 4 + column]);
        }
    }
}

#[test]
fn fixed_tensors_hold_their_constants() {
    let manifest = Manifest::parse(
        r#"{"files": {"x": [
            {"name": "position_ids", "dtype": "I64", "shape": [1, 3], "fixed": "arange"},
            {"name": "alpha", "dtype": "W", "shape": [], "fixed": "w:2.0"},
            {"name": "decay", "dtype": "F32", "shape": [2], "fixed": "f32:0.9999"},
            {"name": "updates", "dtype": "I32", "shape": [1], "fixed": "i32:-7"}]}}"#,
    )
    .expect("a manifest");
    let file = synth::bytes(&manifest.files()["x"], 0, DType::BF16);
    let mut expected = Vec::new();
    (0..3i64).for_each(|v| expected.extend(v.to_le_bytes()));
    expected.extend(half::bf16::from_f32(2.0).to_le_bytes());
    (0..2).for_each(|_| expected.extend(0.9999f32.to_le_bytes()));
    expected.extend((-7i32).to_le_bytes());
    assert_eq!(file[file.len() - expected.len()..], expected);
}

/// Larger than what one round of all threads makes, so pieces meet inside the tensor.
#[test]
fn pieces_join_without_a_seam() {
    let row = serde_json::json!({"name": "wide", "shape": [1000, 3001]});
    let manifest = manifest_of(&row);
    let file = synth::bytes(&manifest.files()["x"], 9, DType::F32);
    let whole = synth::tensor_f32(&manifest.files()["x"][0], 9, DType::F32);
    let written =
        file[file.len() - 4 * whole.len()..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    assert!(written.eq(whole));
}

#[test]
fn header_escapes_names_and_is_padded() {
    let row = serde_json::json!({"name": "n\u{e4}me \"\u{1f600}\"", "shape": [2]});
    let file = synth::bytes(&manifest_of(&row).files()["x"], 0, DType::F16);
    let header = br#"{"__metadata__":{"format":"pt"},"n\u00e4me \"\ud83d\ude00\"":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    assert_eq!(length, header.len().next_multiple_of(8));
    assert_eq!(file[8..8 + header.len()], header[..]);
    assert!(file[8 + header.len()..8 + length].iter().all(|&b| b == b' '));
    assert_eq!(file.len(), 8 + length + 4);
}

#[test]
fn folder_layout_writes_weights_and_configurations() {
    let folder = std::env::temp_dir().join(format!("latent-benches-{}", std::process::id()));
    let manifest = Manifest::parse(
        r#"{"configs": {"model_index.json": {"_class_name": "P"}, "unet/config.json": {"_class_name": "U"}},
            "files": {"unet/w.safetensors": [{"name": "a", "dtype": "W", "shape": [2]}]}}"#,
    )
    .expect("a manifest");
    synth::write_checkpoint(&manifest, 3, DType::F16, &folder).expect("a folder");
    let written = fs::read(folder.join("unet/w.safetensors")).expect("the weights");
    assert_eq!(written, synth::bytes(&manifest.files()["unet/w.safetensors"], 3, DType::F16));
    assert!(read(&folder.join("model_index.json")).contains("\"P\""));
    assert!(read(&folder.join("unet/config.json")).contains("\"U\""));
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn unknown_dtype_of_weights() {
    let error = synth::parse_dtype("f8").expect_err("there is none").to_string();
    assert!(error.contains("f8") && error.contains("bf16"), "{error}");
}
