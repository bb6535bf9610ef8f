//! Components whose weights are in several files, which an index lists.

use crate::common::{Folder, assert_refused, f32s, ones};
use crate::folders::{GOOD_INDEX, SHARD_INDEX, assert_folder_refused, names, sharded};
use latent_loader::{Checkpoint, LoadError};

#[test]
fn the_shards_of_an_index_are_put_together() {
    let folder = sharded(GOOD_INDEX);
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    assert_eq!(names(&checkpoint), ["unet.conv_in.weight", "unet.conv_out.weight"]);
    let tensor = checkpoint.get("unet.conv_out.weight").unwrap();
    assert!(checkpoint.file_of(tensor).ends_with("-00002-of-00002.safetensors"));
    assert_eq!(checkpoint.read("unet.conv_out.weight").unwrap().data.to_vec(), f32s(&[1.0]));
}

#[test]
fn shards_of_half_precision_are_found_by_their_index() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    let shard = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors";
    folder.write(&format!("unet/{shard}"), ones(&["a"]));
    let index = format!(r#"{{"weight_map":{{"a":"{shard}"}}}}"#);
    folder.write("unet/diffusion_pytorch_model.safetensors.index.fp16.json", index);
    assert_eq!(names(&Checkpoint::open(&folder.path("")).unwrap()), ["unet.a"]);
}

#[test]
fn a_shard_with_a_path_in_its_name_is_refused() {
    let outside = Folder::new();
    let secret = outside.write("secret.safetensors", ones(&["conv_in.weight"]));
    for shard in [
        "../secret.safetensors",
        "../../secret.safetensors",
        "sub/secret.safetensors",
        "..",
        "/etc/passwd",
        "C:\\secret.safetensors",
        secret.to_str().unwrap(),
    ] {
        let shard = serde_json::to_string(shard).unwrap();
        let folder = sharded(&format!(r#"{{"weight_map":{{"conv_in.weight":{shard}}}}}"#));
        folder.write("secret.safetensors", ones(&["conv_in.weight"]));
        folder.write("unet/sub/secret.safetensors", ones(&["conv_in.weight"]));
        assert_folder_refused!(
            folder,
            SHARD_INDEX,
            LoadError::UnsafeShardName { .. },
            "named without a path"
        );
    }
}

#[test]
fn a_missing_shard_is_named_with_a_tensor_of_it() {
    let folder = sharded(GOOD_INDEX);
    std::fs::remove_file(folder.path("unet/diffusion_pytorch_model-00002-of-00002.safetensors")).unwrap();
    assert_folder_refused!(
        folder,
        SHARD_INDEX,
        LoadError::MissingShard { .. },
        "its shard \"diffusion_pytorch_model-00002-of-00002.safetensors\" is missing \
         (it should hold tensor \"conv_out.weight\"); download it too"
    );
}

#[test]
fn a_shard_without_a_tensor_that_the_index_lists_is_refused() {
    let folder = sharded(&GOOD_INDEX.replace(
        "\"conv_in.weight\"",
        "\"lost\": \"diffusion_pytorch_model-00001-of-00002.safetensors\", \"conv_in.weight\"",
    ));
    assert_folder_refused!(
        folder,
        SHARD_INDEX,
        LoadError::NotInShard { .. },
        "lists tensor \"lost\" in shard \"diffusion_pytorch_model-00001-of-00002.safetensors\", which does not hold it"
    );
}

#[test]
fn a_shard_with_a_tensor_that_the_index_does_not_list_is_refused() {
    let folder = sharded(GOOD_INDEX);
    let second = "unet/diffusion_pytorch_model-00002-of-00002.safetensors";
    folder.write(second, ones(&["conv_out.weight", "extra"]));
    let text =
        "does not list tensor \"extra\" in shard \"diffusion_pytorch_model-00002-of-00002.safetensors\"";
    assert_folder_refused!(folder, SHARD_INDEX, LoadError::NotInIndex { .. }, text);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = sharded(GOOD_INDEX);
    let second = "unet/diffusion_pytorch_model-00002-of-00002.safetensors";
    folder.write(second, ones(&["conv_out.weight", "conv_in.weight"]));
    let pattern = "does not list tensor \"conv_in.weight\" in shard";
    assert_folder_refused!(folder, SHARD_INDEX, LoadError::NotInIndex { .. }, pattern);
}

#[test]
fn a_damaged_shard_is_the_culprit() {
    let folder = sharded(GOOD_INDEX);
    let first = "unet/diffusion_pytorch_model-00001-of-00002.safetensors";
    let bytes = std::fs::read(folder.path(first)).unwrap();
    folder.write(first, &bytes[..bytes.len() - 1]);
    assert_folder_refused!(folder, first, LoadError::Truncated { .. }, "is cut short");
}

#[test]
fn more_shards_than_any_model_has_are_refused() {
    let entries: Vec<_> = (0..257).map(|i| format!(r#""t{i}":"s{i}.safetensors""#)).collect();
    let folder = sharded(&format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")));
    assert_folder_refused!(
        folder,
        SHARD_INDEX,
        LoadError::TooMany { what: "shards", .. },
        "more than 256 shards"
    );
}

#[test]
fn absurd_indices_are_refused() {
    for (index, text) in [
        ("", "is not a valid index of shards: EOF"),
        ("[]", "expected a table with weight_map"),
        ("{}", "it has no weight_map"),
        (r#"{"weight_map":[]}"#, "expected a table of file names"),
        (r#"{"weight_map":{"a":1}}"#, "expected a string"),
        (r#"{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}"#, "a tensor is listed twice"),
    ] {
        assert_folder_refused!(sharded(index), SHARD_INDEX, LoadError::BadJson { .. }, text);
    }
    let deep = sharded(&format!(r#"{{"metadata":{}"#, "[".repeat(1 << 20)));
    assert_folder_refused!(deep, SHARD_INDEX, LoadError::BadJson { .. }, "is not a valid index of shards");
    let long = sharded(&format!(r#"{{"weight_map":"{}"}}"#, "x".repeat(1 << 20)));
    assert_folder_refused!(long, SHARD_INDEX, LoadError::BadJson { .. }, "expected a table of file names");
    let named = sharded(&format!(r#"{{"weight_map":{{"{}":"x.safetensors"}}}}"#, "x".repeat(1025)));
    assert_folder_refused!(named, SHARD_INDEX, LoadError::BadJson { .. }, "a name is too long");
    let large = sharded(&format!("{GOOD_INDEX}{}", " ".repeat(16 << 20)));
    assert_folder_refused!(
        large,
        SHARD_INDEX,
        LoadError::JsonTooLarge { .. },
        "more than the 16777216 that are read"
    );
}
