//! Diffusers folders: what is read of them, and what is refused.

use crate::common::{self, Folder, assert_refused, file, ones, tensors};
use latent_loader::{Checkpoint, CheckpointLayout, LoadError, Weights};
use std::sync::Arc;
#[cfg(unix)]
use {latent_loader::Access, std::path::Path};

const MODEL_INDEX: &str = r#"{
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [null, null]
}"#;

/// A small model as diffusers writes it.
pub(crate) fn model() -> Folder {
    let folder = Folder::new();
    folder.write("model_index.json", MODEL_INDEX);
    folder.write("unet/config.json", r#"{"cross_attention_dim": 768}"#);
    folder.write("unet/diffusion_pytorch_model.safetensors", ones(&["conv_in.weight", "conv_out.weight"]));
    folder.write("vae/config.json", r#"{"scaling_factor": 0.18215}"#);
    folder.write("vae/diffusion_pytorch_model.safetensors", ones(&["encoder.conv_in.weight"]));
    folder.write("text_encoder/config.json", "{}");
    folder.write("text_encoder/model.safetensors", ones(&["text_model.final_layer_norm.weight"]));
    folder.write("tokenizer/vocab.json", r#"{"a": 0}"#);
    folder.write("tokenizer/merges.txt", "#version: 0.2\n");
    folder.write("scheduler/scheduler_config.json", r#"{"prediction_type": "epsilon"}"#);
    folder
}

/// A folder whose U-Net lies in two shards, `conv_in` in the first and `conv_out` in the second, by this index.
pub(crate) fn sharded(index: &str) -> Folder {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/diffusion_pytorch_model-00001-of-00002.safetensors", ones(&["conv_in.weight"]));
    folder.write("unet/diffusion_pytorch_model-00002-of-00002.safetensors", ones(&["conv_out.weight"]));
    folder.write(SHARD_INDEX, index);
    folder
}

pub(crate) const SHARD_INDEX: &str = "unet/diffusion_pytorch_model.safetensors.index.json";

pub(crate) const GOOD_INDEX: &str = r#"{"metadata": {"total_size": 8}, "weight_map": {
    "conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors",
    "conv_out.weight": "diffusion_pytorch_model-00002-of-00002.safetensors"
}}"#;

pub(crate) fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect()
}

/// Asserts that a folder is refused for one of its files.
macro_rules! assert_folder_refused {
    ($folder:expr, $culprit:expr, $pattern:pat $(if $guard:expr)?, $text:expr) => {{
        let folder = &$folder;
        assert_refused!(folder.path(""), folder.path($culprit), $pattern $(if $guard)?, $text)
    }};
}
pub(crate) use assert_folder_refused;

// What is read.

#[test]
fn a_diffusers_folder_opens_with_the_component_before_each_name() {
    let folder = model();
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(checkpoint.layout(), CheckpointLayout::DiffusersFolder);
    let expected = [
        "text_encoder.text_model.final_layer_norm.weight",
        "unet.conv_in.weight",
        "unet.conv_out.weight",
        "vae.encoder.conv_in.weight",
    ];
    assert_eq!(names(&checkpoint), expected);
    for name in expected {
        assert_eq!(checkpoint.read(name).unwrap().to_f32().unwrap(), [1.0]);
    }
    let tensor = checkpoint.get("text_encoder.text_model.final_layer_norm.weight").unwrap();
    assert_eq!(
        checkpoint.file_of(tensor),
        folder.path("text_encoder/model.safetensors").display().to_string()
    );
}

#[test]
fn the_configurations_of_a_folder_are_kept_by_component() {
    let folder = model();
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(checkpoint.config("unet").unwrap().get_u64("cross_attention_dim"), Some(768));
    assert_eq!(checkpoint.config("scheduler").unwrap().get_str("prediction_type"), Some("epsilon"));
    assert_eq!(
        checkpoint.config("model_index").unwrap().get_str("_class_name"),
        Some("StableDiffusionPipeline")
    );
    assert!(checkpoint.config("tokenizer").is_none());
}

#[test]
fn sizes_and_metadata_of_all_files_are_put_together() {
    let folder = model();
    let vae = r#"{"__metadata__":{"format":"pt"}}"#;
    folder.write("vae/diffusion_pytorch_model.safetensors", file(vae, &[]));
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(checkpoint.metadata().get("vae.format").unwrap(), "pt");
    let files = ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"];
    let size = |name: &&str| folder.path(&format!("{name}.safetensors")).metadata().unwrap().len();
    assert_eq!(checkpoint.file_bytes(), files.iter().map(size).sum::<u64>());
    assert_eq!(checkpoint.header_bytes(), checkpoint.file_bytes() - 3 * 4);
}

#[test]
fn a_component_is_a_scope_of_its_weights() {
    let folder = model();
    let weights = Weights::new(Arc::new(Checkpoint::open(&folder.path("")).unwrap()));
    let unet = weights.scope("unet");
    assert_eq!(unet.names().collect::<Vec<_>>(), ["conv_in.weight", "conv_out.weight"]);
    let error = unet.get("conv_in.weight", &[2]).unwrap_err();
    let file = folder.path("unet/diffusion_pytorch_model.safetensors");
    assert!(common::line(&error).starts_with(&format!("{}: tensor \"unet.conv_in.weight\"", file.display())));
}

#[test]
fn a_folder_needs_no_list_of_components() {
    let folder = model();
    std::fs::remove_file(folder.path("model_index.json")).unwrap();
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(checkpoint.tensors().count(), 4);
    assert!(checkpoint.config("model_index").is_none());
}

#[test]
fn a_listed_component_needs_no_configuration() {
    let folder = model();
    std::fs::remove_file(folder.path("vae/config.json")).unwrap();
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert!(checkpoint.get("vae.encoder.conv_in.weight").is_some());
    assert!(checkpoint.config("vae").is_none());
}

#[test]
fn sub_folders_that_are_no_component_are_passed_over() {
    let folder = model();
    folder.write("notes/model.safetensors", "no model at all");
    folder.write(".cache/config.json", "no JSON at all");
    folder.write("safety_checker/config.json", "{}");
    folder.write("safety_checker/model.safetensors", "no model at all");
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(checkpoint.tensors().count(), 4);
}

#[test]
fn half_precision_variants_are_read_where_there_is_nothing_else() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/diffusion_pytorch_model.fp16.safetensors", ones(&["fp16"]));
    folder.write("text_encoder/config.json", "{}");
    folder.write("text_encoder/model.fp16.safetensors", ones(&["fp16"]));
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(names(&checkpoint), ["text_encoder.fp16", "unet.fp16"]);

    folder.write("unet/diffusion_pytorch_model.safetensors", ones(&["plain"]));
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(names(&checkpoint), ["text_encoder.fp16", "unet.plain"]);
}

#[test]
fn pickles_beside_safetensors_do_no_harm() {
    let folder = model();
    folder.write("unet/diffusion_pytorch_model.bin", "pickle");
    assert!(Checkpoint::open(&folder.path("")).is_ok());
}

// Links.

#[cfg(unix)]
#[test]
fn a_link_within_the_folder_is_followed() {
    let folder = model();
    std::fs::rename(folder.path("unet/diffusion_pytorch_model.safetensors"), folder.path("big.safetensors"))
        .unwrap();
    folder.link("unet/diffusion_pytorch_model.safetensors", "../big.safetensors");
    assert_eq!(Checkpoint::open(&folder.path("")).unwrap().tensors().count(), 4);
}

#[cfg(unix)]
#[test]
fn a_folder_may_itself_be_reached_by_a_link() {
    let (folder, other) = (model(), Folder::new());
    let link = other.link("model", folder.path(""));
    assert_eq!(Checkpoint::open(&link).unwrap().tensors().count(), 4);
}

/// Asserts that a folder which nobody named is refused for a link out of it.
#[cfg(unix)]
fn assert_fenced(folder: &Path, culprit: &Path) {
    let error = Checkpoint::open_fenced(folder).map(|_| ()).expect_err("this must be refused");
    let text = format!("{}: leads out of the model's folder to ", culprit.display());
    assert!(matches!(error, LoadError::LinkOutside { .. }) && error.is_bad_input(), "{error:?}");
    assert!(common::line(&error).starts_with(&text), "{error}");
}

/// As `huggingface-cli download --local-dir` makes them, or a person who keeps one VAE for several models.
#[cfg(unix)]
#[test]
fn a_folder_that_a_person_names_may_link_its_files_elsewhere() {
    let (shared, folder) = (Folder::new(), model());
    for (index, name) in ["unet/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"]
        .iter()
        .enumerate()
    {
        let kept = shared.write(&format!("blobs/{index}"), std::fs::read(folder.path(name)).unwrap());
        std::fs::remove_file(folder.path(name)).unwrap();
        folder.link(name, kept);
    }
    for access in [Access::Read, Access::Map] {
        let checkpoint = Checkpoint::open_with(&folder.path(""), access).unwrap();
        assert_eq!(checkpoint.tensors().count(), 4);
        assert!(checkpoint.read("unet.conv_in.weight").is_ok());
    }
    // What a link leads to is looked at as strictly as any file.
    let name = "unet/diffusion_pytorch_model.safetensors";
    for (target, text) in
        [("/dev/zero", "is a pipe, a device or a socket"), ("/etc/passwd", "is a text that begins")]
    {
        std::fs::remove_file(folder.path(name)).unwrap();
        folder.link(name, target);
        let (_, line) = common::refused_for(&folder.path(""), &folder.path(name));
        assert!(line.contains(text), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_a_link_out_of_the_folder_is_fenced() {
    let outside = Folder::new();
    let secret = outside.write("secret", ones(&["a"]));
    let folder = model();
    for name in ["unet/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"] {
        let kept = std::fs::read(folder.path(name)).unwrap();
        std::fs::remove_file(folder.path(name)).unwrap();
        folder.link(name, &secret);
        assert_fenced(&folder.path(""), &folder.path(name));
        std::fs::remove_file(folder.path(name)).unwrap();
        folder.write(name, kept);
    }
    assert!(Checkpoint::open(&folder.path("")).is_ok());
}

#[cfg(unix)]
#[test]
fn a_component_that_is_a_link_out_of_the_folder_is_fenced() {
    let (outside, folder) = (model(), model());
    std::fs::remove_dir_all(folder.path("unet")).unwrap();
    folder.link("unet", outside.path("unet"));
    assert_fenced(&folder.path(""), &folder.path("unet/config.json"));
    assert_eq!(Checkpoint::open(&folder.path("")).unwrap().tensors().count(), 4);
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_a_link_out_of_the_folder_is_fenced() {
    let outside = Folder::new();
    let secret = outside.write("secret", ones(&["conv_in.weight"]));
    let folder = sharded(GOOD_INDEX);
    let first = "unet/diffusion_pytorch_model-00001-of-00002.safetensors";
    std::fs::remove_file(folder.path(first)).unwrap();
    folder.link(first, secret);
    assert_fenced(&folder.path(""), &folder.path(first));
    assert!(Checkpoint::open(&folder.path("")).is_ok());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_sibling_whose_name_only_begins_alike_is_fenced() {
    let folder = Folder::new();
    folder.write("model-private/secret.safetensors", ones(&["a"]));
    folder.write("model/unet/config.json", "{}");
    let name = "model/unet/diffusion_pytorch_model.safetensors";
    folder.link(name, "../../model-private/secret.safetensors");
    assert_fenced(&folder.path("model"), &folder.path(name));
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_in_a_circle_are_refused() {
    let folder = model();
    let name = "unet/diffusion_pytorch_model.safetensors";
    std::fs::remove_file(folder.path(name)).unwrap();
    folder.link(name, "../../blobs/gone");
    let text = "is a link to ../../blobs/gone, which is not there";
    assert_folder_refused!(folder, name, LoadError::NotFound { link_to: Some(_), .. }, text);

    std::fs::remove_file(folder.path(name)).unwrap();
    folder.link(name, folder.path(name));
    let (error, _) = common::refused_for(&folder.path(""), &folder.path(name));
    assert!(matches!(error, LoadError::Io { action: "open", .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_snapshot_in_a_hugging_face_cache_opens() {
    let cache = Folder::new();
    let model = "hub/models--owner--name";
    let snapshot = format!("{model}/snapshots/0123abcd");
    cache.write(&format!("{model}/blobs/aaaa"), "{}");
    cache.write(&format!("{model}/blobs/bbbb"), ones(&["conv_in.weight"]));
    cache.link(&format!("{snapshot}/unet/config.json"), "../../../blobs/aaaa");
    cache.link(&format!("{snapshot}/unet/diffusion_pytorch_model.safetensors"), "../../../blobs/bbbb");
    let checkpoint = Checkpoint::open(&cache.path(&snapshot)).unwrap();
    assert_eq!(names(&checkpoint), ["unet.conv_in.weight"]);

    // A component of it too, whose links lead among the same blobs.
    let component = Checkpoint::open(&cache.path(&format!("{snapshot}/unet"))).unwrap();
    assert_eq!(
        (component.layout(), names(&component)),
        (CheckpointLayout::ComponentFolder, vec!["conv_in.weight"])
    );
}

#[test]
fn the_place_of_a_model_in_a_hugging_face_cache_opens_the_main_snapshot() {
    let cache = Folder::new();
    let model = "hub/models--owner--name";
    for revision in ["0000", "ffff"] {
        let unet = format!("{model}/snapshots/{revision}/unet");
        cache.write(&format!("{unet}/config.json"), "{}");
        cache.write(&format!("{unet}/diffusion_pytorch_model.safetensors"), ones(&[revision]));
    }
    let opened = |main: &str| {
        cache.write(&format!("{model}/refs/main"), main);
        let checkpoint = Checkpoint::open(&cache.path(model)).unwrap();
        checkpoint.tensors().next().unwrap().name.clone()
    };
    assert_eq!(opened("0000\n"), "unet.0000");
    assert_eq!(opened("ffff"), "unet.ffff");
    // What names no snapshot counts as if it were not there: then the newest does.
    for other in ["gone", "../../elsewhere", ""] {
        assert_eq!(opened(other), "unet.ffff", "{other}");
    }
}

#[test]
fn a_place_in_a_hugging_face_cache_without_a_snapshot_is_refused() {
    let cache = Folder::new();
    let model = "hub/models--owner--name";
    cache.write(&format!("{model}/blobs/aaaa"), "{}");
    std::fs::create_dir_all(cache.path(&format!("{model}/snapshots"))).unwrap();
    let text =
        "is a model's folder in a Hugging Face cache, whose snapshots hold no model; download it again";
    assert_refused!(cache.path(model), cache.path(model), LoadError::NoModelInFolder { .. }, text);
}

#[cfg(unix)]
#[test]
fn a_snapshot_may_not_link_to_the_blobs_of_another_model() {
    let cache = Folder::new();
    cache.write("hub/models--other--private/blobs/cccc", ones(&["a"]));
    let snapshot = "hub/models--owner--name/snapshots/0123abcd";
    cache.write(&format!("{snapshot}/unet/config.json"), "{}");
    let name = format!("{snapshot}/unet/diffusion_pytorch_model.safetensors");
    cache.link(&name, "../../../../models--other--private/blobs/cccc");
    assert_fenced(&cache.path(snapshot), &cache.path(&name));
    assert_eq!(names(&Checkpoint::open(&cache.path(snapshot)).unwrap()), ["unet.a"]);
}

#[cfg(unix)]
#[test]
fn pipes_in_a_folder_are_refused_and_not_waited_for() {
    common::without_hanging(|| {
        for name in ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"] {
            let folder = model();
            std::fs::remove_file(folder.path(name)).unwrap();
            folder.pipe(name);
            assert_folder_refused!(
                folder,
                name,
                LoadError::NotARegularFile { .. },
                "is a pipe, a device or a socket"
            );
        }
    });
}

// Configurations.

#[test]
fn absurd_configurations_are_refused() {
    let deep = "[".repeat(100_000);
    for (config, text) in [
        ("", "is not valid JSON: EOF"),
        ("<html>", "is not valid JSON: expected value at line 1 column 1"),
        ("[1, 2]", "it is not a JSON table"),
        ("\"text\"", "it is not a JSON table"),
        ("{\"a\": 1", "is not valid JSON: EOF"),
        ("{} {}", "is not valid JSON: trailing characters"),
        (&deep, "is not valid JSON: recursion limit exceeded"),
    ] {
        for name in ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"] {
            let folder = model();
            folder.write(name, config);
            assert_folder_refused!(folder, name, LoadError::BadJson { .. }, text);
        }
    }
}

#[test]
fn a_configuration_that_is_no_text_is_refused() {
    let folder = model();
    folder.write("vae/config.json", b"{\"a\": \"\xFF\"}");
    assert_folder_refused!(folder, "vae/config.json", LoadError::BadJson { .. }, "invalid unicode");
}

#[test]
fn a_configuration_of_megabytes_is_not_read() {
    let folder = model();
    let limit = 1 << 20;
    folder.write("unet/config.json", format!("{{}}{}", " ".repeat(limit - 2)));
    assert!(Checkpoint::open(&folder.path("")).is_ok());
    folder.write("unet/config.json", format!("{{}}{}", " ".repeat(limit - 1)));
    let text = "has 1048577 bytes, more than the 1048576 that are read of such a file";
    assert_folder_refused!(folder, "unet/config.json", LoadError::JsonTooLarge { .. }, text);
}

// Folders without weights that could be read.

#[test]
fn a_folder_of_pickles_names_one() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/diffusion_pytorch_model.bin", "pickle");
    folder.write("unet/best.pth", "pickle");
    let name = "unet/diffusion_pytorch_model.bin";
    assert_folder_refused!(folder, name, LoadError::NotSafetensors { .. }, "begins with \"pickle\"");
    std::fs::remove_file(folder.path(name)).unwrap();
    let text = "it holds best.pth, but neither diffusion_pytorch_model.safetensors nor model.safetensors";
    assert_folder_refused!(folder, "unet", LoadError::NoModelInFolder { .. }, text);

    let folder = Folder::new();
    let path = folder.write("v1-5-pruned.ckpt", "pickle");
    let text = format!("give the file in it, {}", path.display());
    assert_folder_refused!(folder, "", LoadError::NoModelInFolder { .. }, &text);
}

#[test]
fn a_folder_with_one_file_in_it_points_to_the_file() {
    let folder = Folder::new();
    let path = folder.write("v1-5-pruned-emaonly.safetensors", ones(&["a"]));
    let text = format!("give the file in it, {}", path.display());
    assert_folder_refused!(folder, "", LoadError::NoModelInFolder { .. }, &text);
}

#[test]
fn the_folder_of_one_component_opens_without_a_prefix() {
    let folder = model();
    let checkpoint = Checkpoint::open(&folder.path("unet")).unwrap();
    assert_eq!(checkpoint.layout(), CheckpointLayout::ComponentFolder);
    assert_eq!(names(&checkpoint), ["conv_in.weight", "conv_out.weight"]);
    assert_eq!(checkpoint.config("").unwrap().get_u64("cross_attention_dim"), Some(768));

    let sharded = Checkpoint::open(&sharded(GOOD_INDEX).path("unet")).unwrap();
    assert_eq!(names(&sharded), ["conv_in.weight", "conv_out.weight"]);
}

#[test]
fn variants_of_other_formats_are_read_where_there_is_nothing_else() {
    for variant in ["bf16", "fp32"] {
        let folder = Folder::new();
        folder.write("vae/config.json", "{}");
        folder.write(&format!("vae/diffusion_pytorch_model.{variant}.safetensors"), ones(&[variant]));
        let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
        assert_eq!(names(&checkpoint), [format!("vae.{variant}")]);
        folder.write("vae/diffusion_pytorch_model.fp16.safetensors", ones(&["fp16"]));
        assert_eq!(names(&Checkpoint::open(&folder.path("")).unwrap()), ["vae.fp16"]);
    }
}

#[test]
fn weights_under_a_name_of_their_own_are_not_guessed_at() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/my_favourite.safetensors", ones(&["a"]));
    let text = "it holds my_favourite.safetensors, but neither diffusion_pytorch_model.safetensors nor";
    assert_folder_refused!(folder, "unet", LoadError::NoModelInFolder { .. }, text);
}

#[test]
fn an_empty_folder_tells_what_is_looked_for() {
    let text = "it has no .safetensors file, nor sub-folders (unet, vae, text_encoder, …)";
    assert_folder_refused!(Folder::new(), "", LoadError::NoModelInFolder { .. }, text);
}

#[test]
fn a_damaged_file_of_a_folder_is_the_culprit() {
    let folder = model();
    let name = "vae/diffusion_pytorch_model.safetensors";
    folder.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 334643268\n");
    assert_folder_refused!(folder, name, LoadError::NotSafetensors { .. }, "(334643268 bytes)");
}

#[test]
fn more_sub_folders_than_any_model_has_are_refused() {
    let folder = model();
    for index in 0..65 {
        std::fs::create_dir(folder.path(&format!("part{index}"))).unwrap();
    }
    assert_folder_refused!(
        folder,
        "",
        LoadError::TooMany { what: "sub-folders", .. },
        "more than 64 sub-folders"
    );
}

#[test]
fn more_tensors_in_all_components_than_any_model_has_are_refused() {
    let folder = Folder::new();
    let names: Vec<_> = (0..50_001).map(|i| i.to_string()).collect();
    let list: Vec<_> = names.iter().map(|name| (name.as_str(), "F32", [0].as_slice(), Vec::new())).collect();
    let bytes = tensors(&list);
    for component in ["unet", "vae"] {
        folder.write(&format!("{component}/config.json"), "{}");
        folder.write(&format!("{component}/model.safetensors"), &bytes);
    }
    assert_folder_refused!(
        folder,
        "",
        LoadError::TooMany { what: "tensors", .. },
        "more than 100000 tensors"
    );
}
