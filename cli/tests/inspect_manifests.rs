//! `latent inspect` on every manifest: both scales, both layouts. The files are headers, and holes in place of numbers.

use crate::common::Room;
use serde_json::{Value, json};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The tensor whose spread tells what SD 2.x predicts.
const MARK: &str = "output_blocks.11.1.transformer_blocks.0.norm1.bias";

fn manifests() -> Vec<PathBuf> {
    manifests_in("manifests")
}

fn manifests_in(folder: &str) -> Vec<PathBuf> {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference");
    let folder = reference.join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Writes a file of a manifest: its header, holes, and for a v-prediction model the mark, alternating 0.2 and -0.2.
fn write_sparse(path: &Path, entries: &[Value], v_prediction: bool) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut header = serde_json::Map::new();
    let (mut end, mut mark) = (0, None);
    for entry in entries {
        let (name, shape) = (entry["name"].as_str().unwrap(), &entry["shape"]);
        let elements: u64 = shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product();
        let (dtype, size) = match entry["dtype"].as_str().unwrap() {
            "W" => ("F16", 2),
            "F32" => ("F32", 4),
            "I32" => ("I32", 4),
            "I64" => ("I64", 8),
            other => panic!("{other}"),
        };
        if v_prediction && name.ends_with(MARK) {
            mark = Some((end, elements));
        }
        let start = end;
        end += elements * size;
        header.insert(name.to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let data = 8 + header.len() as u64;
    file.set_len(data + end).unwrap();
    if let Some((at, elements)) = mark {
        file.seek(SeekFrom::Start(data + at)).unwrap();
        // 0.2 and -0.2 as IEEE halves.
        let halves = [0x3266u16, 0xB266].into_iter().cycle().take(usize::try_from(elements).unwrap());
        file.write_all(&halves.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    }
}

/// Writes what a manifest lists; the name of the file or folder.
fn write_checkpoint(room: &Room, manifest: &Value) -> String {
    let v_prediction = manifest["prediction"] == "v_prediction";
    let files = manifest["files"].as_object().unwrap();
    let single = manifest["layout"] == "single";
    let name = if single { files.keys().next().unwrap().clone() } else { "folder".to_owned() };
    for (file, entries) in files {
        let path = if single { room.path(file) } else { room.path("folder").join(file) };
        write_sparse(&path, entries.as_array().unwrap(), v_prediction);
    }
    for (file, config) in manifest["configs"].as_object().into_iter().flatten() {
        let path = room.path("folder").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, config.to_string()).unwrap();
    }
    name
}

/// Kind, family, variant and prediction that a file is told by.
type Expected = [Option<&'static str>; 4];

const fn model(base: &'static str, variant: &'static str, prediction: &'static str) -> Expected {
    [Some("model"), Some(base), Some(variant), Some(prediction)]
}

/// What is to be told of the manifests of each family.
const EXPECTED: [(&str, Expected); 46] = [
    ("sd15", model("sd1", "base", "epsilon")),
    ("sd15-inpaint", model("sd1", "inpainting", "epsilon")),
    ("sd15-pix2pix", model("sd1", "pix2pix", "epsilon")),
    ("sd21", model("sd2", "base", "epsilon")),
    ("sd21-v", model("sd2", "base", "v")),
    ("sdxl", model("sdxl", "base", "epsilon")),
    ("sdxl-inpaint", model("sdxl", "inpainting", "epsilon")),
    ("sdxl-refiner", model("sdxl-refiner", "base", "epsilon")),
    ("lora-sd15-kohya", [Some("lora"), Some("sd1"), None, None]),
    ("lora-sdxl-kohya", [Some("lora"), Some("sdxl"), None, None]),
    ("controlnet-sd15", [Some("controlnet"), Some("sd1"), None, None]),
    ("taesd", [Some("taesd"), None, None, None]),
    ("taesd3", [Some("taesd"), None, None, None]),
    // Its 3 vectors are 128 wide, as those of no published text encoder are.
    ("ti-sd15", [Some("embedding"), None, None, None]),
    ("bksdm-small", model("sd1", "BK-SDM", "epsilon")),
    ("bksdm-tiny", model("sd1", "BK-SDM", "epsilon")),
    ("bksdm-v2-small", model("sd2", "BK-SDM", "epsilon")),
    ("sdxs", model("sd1", "SDXS", "epsilon")),
    ("sdxs-ds", model("sd1", "SDXS", "epsilon")),
    ("sdxs-09", model("sd2", "SDXS", "epsilon")),
    ("controlnet-union-sdxl", [Some("controlnet"), Some("sdxl"), None, None]),
    // Its text is 128 wide, as that of no published model.
    ("control-lora-sd15", [Some("control-lora"), None, None, None]),
    ("control-lora-sdxl", [Some("control-lora"), Some("sdxl"), None, None]),
    // Which of the families with one transformer block each, its modules do not say.
    ("lllite-sd15", [Some("controlnet-lllite"), None, None, None]),
    ("lllite-sdxl", [Some("controlnet-lllite"), Some("sdxl"), None, None]),
    ("image-encoder", [Some("image-encoder"), None, None, None]),
    ("image-encoder-openclip", [Some("image-encoder"), None, None, None]),
    ("ip-adapter-full-sd15", [Some("ip-adapter"), None, None, None]),
    ("ip-adapter-plain-sd15", [Some("ip-adapter"), None, None, None]),
    ("ip-adapter-plain-sdxl", [Some("ip-adapter"), None, None, None]),
    ("ip-adapter-plus-sd15", [Some("ip-adapter"), None, None, None]),
    ("ip-adapter-plus-sdxl", [Some("ip-adapter"), None, None, None]),
    ("t2i-full-adapter-sd15", [Some("t2i-adapter"), None, None, None]),
    ("t2i-full-adapter-xl-sdxl", [Some("t2i-adapter"), None, None, None]),
    ("t2i-light-adapter-sd15", [Some("t2i-adapter"), None, None, None]),
    ("t5", [Some("text-encoder"), None, None, None]),
    ("qwen3", [Some("text-encoder"), None, None, None]),
    ("sd35-pipeline", [Some("model"), Some("sd3"), Some("3.5 medium"), None]),
    ("sd35-pipeline-clip", [Some("model"), Some("sd3"), Some("3.5 medium"), None]),
    ("flux-pipeline", [Some("model"), Some("flux"), Some("base"), None]),
    ("flux-schnell-pipeline", [Some("model"), Some("flux-schnell"), Some("base"), None]),
    ("flux2-klein-pipeline", [Some("model"), Some("flux2-klein"), Some("base"), None]),
    // With the names of original files, below the prefixes of ComfyUI.
    ("sd35-pipeline-t5", [Some("model"), Some("sd3"), Some("3.5 medium"), None]),
    ("flux-fill-pipeline", [Some("model"), Some("flux"), Some("Fill"), None]),
    ("chroma-pipeline", [Some("model"), Some("chroma"), Some("base"), None]),
    ("z-image-pipeline", [Some("model"), Some("z-image"), Some("base"), None]),
];

/// Those whose manifests have no text encoder.
const WITHOUT_TEXT: [&str; 5] = ["bksdm-small", "bksdm-tiny", "bksdm-v2-small", "sdxs-ds", "sdxs-09"];

fn expected(manifest: &Value) -> Expected {
    let name = manifest["family"].as_str().unwrap();
    EXPECTED
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("nothing is expected of {name}"))
        .1
}

fn inspect(room: &Room, name: &str) -> Value {
    serde_json::from_str(&room.succeeds(&["inspect", "--json", name])).unwrap()
}

#[test]
fn every_manifest_is_told_by_family_variant_and_prediction() {
    let paths = manifests();
    assert!(paths.len() >= 18, "{paths:?}");
    for path in paths {
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let room = Room::new();
        let name = write_checkpoint(&room, &manifest);
        let told = inspect(&room, &name);
        let found = ["kind", "base", "variant", "prediction"].map(|key| told[key].as_str());
        assert_eq!(found, expected(&manifest), "{}: {told}", path.display());
        let lacks_text = WITHOUT_TEXT.iter().any(|name| manifest["family"] == *name);
        let lacks = if lacks_text { json!(["text encoder"]) } else { json!([]) };
        assert_eq!(told["lacks"], lacks, "{}", path.display());
    }
}

/// Transformers without the other parts, of full size, in both layouts: what they are, and that only a header is read.
#[test]
fn transformers_of_full_size_are_told_from_their_headers() {
    let families = [
        ("sd3-medium", "sd3", "medium"),
        ("sd35-medium", "sd3", "3.5 medium"),
        ("sd35-large", "sd3", "3.5 large"),
        ("flux-dev", "flux", "base"),
        ("flux-schnell", "flux-schnell", "base"),
        ("chroma", "chroma", "base"),
        ("z-image", "z-image", "base"),
        ("flux2-klein", "flux2-klein", "base"),
    ];
    let room = Room::new();
    let mut told = 0;
    for path in manifests_in("transformer_manifests") {
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if manifest["scale"] != "full" {
            continue;
        }
        let (_, base, variant) = families.iter().find(|(name, ..)| manifest["family"] == *name).unwrap();
        for (name, entries) in manifest["files"].as_object().unwrap() {
            write_sparse(&room.path(name), entries.as_array().unwrap(), false);
            let found = inspect(&room, name);
            let keys = ["kind", "base", "variant"].map(|key| found[key].as_str());
            assert_eq!(
                keys,
                [Some("transformer"), Some(*base), Some(*variant)],
                "{}: {found}",
                path.display()
            );
            assert_eq!(found["lacks"], json!(["text encoder", "VAE"]), "{}", path.display());
            let checked = &found["tensors_checked"][0];
            assert_eq!(
                (&checked["part"], &checked["missing"]),
                (&json!("transformer"), &json!([])),
                "{found}"
            );
            // The weights, and what an image of a megapixel takes beside them.
            let needed = found["memory_estimate"][2]["bytes"].as_u64().unwrap();
            let beside = needed - found["components"][0]["bytes"].as_u64().unwrap();
            assert!((200 << 20..4 << 30).contains(&beside), "{}: {beside}", path.display());
            #[cfg(target_os = "linux")]
            assert!(bytes_read(&room, &["inspect", name]) < 16 << 20, "{}", path.display());
            std::fs::remove_file(room.path(name)).unwrap();
            told += 1;
        }
    }
    assert_eq!(told, 2 * families.len());
}

#[test]
fn a_unet_alone_is_told_from_its_shapes_with_and_without_prefix() {
    for (family, base) in
        [("sd15", "sd1"), ("sd21", "sd2"), ("sdxl", "sdxl"), ("sdxl-refiner", "sdxl-refiner")]
    {
        let path =
            manifests().into_iter().find(|p| p.ends_with(format!("{family}-tiny-single.json"))).unwrap();
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let entries = manifest["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap();
        for prefix in ["", "model.diffusion_model.", "model.diffusion_model.model.diffusion_model."] {
            let unet: Vec<Value> = entries
                .iter()
                .filter_map(|entry| {
                    let name = entry["name"].as_str()?.strip_prefix("model.diffusion_model.")?;
                    let mut entry = entry.clone();
                    entry["name"] = json!(format!("{prefix}{name}"));
                    Some(entry)
                })
                .collect();
            let room = Room::new();
            write_sparse(&room.path("unet.safetensors"), &unet, false);
            let told = inspect(&room, "unet.safetensors");
            assert_eq!((&told["kind"], &told["base"]), (&json!("unet"), &json!(base)), "{prefix:?}: {told}");
            assert_eq!(told["lacks"], json!(["text encoder", "VAE"]), "{prefix:?}");
        }
    }
}

#[test]
fn a_transformer_alone_is_told_in_the_original_layout_and_in_that_of_diffusers() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/transformer_manifests");
    for (name, base, variant) in [
        ("sd3-medium-full", "sd3", "medium"),
        ("sd35-medium-full", "sd3", "3.5 medium"),
        ("sd35-large-full", "sd3", "3.5 large"),
        ("flux-dev-full", "flux", "base"),
        ("flux-schnell-full", "flux-schnell", "base"),
        ("flux-fill-tiny", "flux", "Fill"),
        ("chroma-full", "chroma", "base"),
        ("z-image-full", "z-image", "base"),
    ] {
        for layout in ["single", "diffusers"] {
            let json = std::fs::read_to_string(folder.join(format!("{name}-{layout}.json"))).unwrap();
            let manifest: Value = serde_json::from_str(&json).unwrap();
            let entries = manifest["files"].as_object().unwrap().values().next().unwrap();
            let room = Room::new();
            write_sparse(&room.path("model.safetensors"), entries.as_array().unwrap(), false);
            let told = inspect(&room, "model.safetensors");
            let found = ["base", "variant"].map(|key| told[key].as_str());
            assert_eq!(found, [Some(base), Some(variant)], "{name}-{layout}: {told}");
            assert_eq!(told["lacks"], json!(["text encoder", "VAE"]), "{name}-{layout}");
        }
    }
}

#[test]
fn text_encoders_and_vaes_alone_are_told() {
    let path = manifests().into_iter().find(|p| p.ends_with("sd15-full-diffusers.json")).unwrap();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (file, kind, base) in [
        ("text_encoder/model.safetensors", "text-encoder", json!("sd1")),
        ("vae/diffusion_pytorch_model.safetensors", "vae", Value::Null),
        ("unet/diffusion_pytorch_model.safetensors", "unet", json!("sd1")),
    ] {
        let room = Room::new();
        write_sparse(&room.path("part.safetensors"), manifest["files"][file].as_array().unwrap(), false);
        let told = inspect(&room, "part.safetensors");
        assert_eq!((&told["kind"], &told["base"]), (&json!(kind), &base), "{told}");
    }
}

/// How many bytes the program read, as Linux counts them for a shell and the processes that it waited for.
#[cfg(target_os = "linux")]
fn bytes_read(room: &Room, args: &[&str]) -> u64 {
    let program = room.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" >/dev/null && cat /proc/$$/io", "sh"]).arg(program.get_program()).args(args);
    let output = shell.current_dir(room.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = String::from_utf8(output.stdout).unwrap();
    let bytes = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    bytes.unwrap_or_else(|| panic!("{counts}")).parse().unwrap()
}

#[test]
fn of_seven_gigabytes_only_the_header_is_read() {
    let path = manifests().into_iter().find(|p| p.ends_with("sdxl-full-single.json")).unwrap();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let room = Room::new();
    let name = write_checkpoint(&room, &manifest);
    #[cfg(target_os = "linux")]
    {
        let bytes = bytes_read(&room, &["inspect", &name]);
        assert!(bytes < 16 << 20, "{bytes} bytes were read");
    }
    let told = inspect(&room, &name);
    assert!(told["bytes"].as_u64().unwrap() > 6_900_000_000, "{told}");
    let needs = told["memory_estimate"].as_array().unwrap();
    assert_eq!(needs.iter().map(|n| n["side"].as_u64().unwrap()).collect::<Vec<_>>(), [512, 768, 1024]);
    assert!(needs[0]["bytes"].as_u64().unwrap() > 5_000_000_000, "the UNet alone takes 5.1 GB: {told}");
}

#[test]
fn the_hash_is_that_of_the_file_and_tensors_are_listed() {
    let room = Room::new();
    // A valid file of one empty tensor; its SHA-256 was taken with another program.
    let header = br#"{"a":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    room.file("a.safetensors", &bytes);
    let text = room.succeeds(&["inspect", "--hash", "--tensors", "a.safetensors"]);
    assert!(text.contains("a F16 [0]"), "{text}");
    let hash = "2a7ea45db975c9cf81b9534c3d58f56029e46eb83a125f37d4fed5f3fc800521";
    assert!(text.contains(hash) && text.contains(&format!("short hash        {}\n", &hash[..10])), "{text}");
    let json: Value =
        serde_json::from_str(&room.succeeds(&["inspect", "--hash", "--json", "--tensors", "a.safetensors"]))
            .unwrap();
    assert_eq!(json["sha256"], hash);
    assert_eq!(json["tensor_list"], serde_json::json!([{"name": "a", "dtype": "F16", "shape": [0]}]));
}
