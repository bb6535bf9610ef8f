//! Files that tests make.

use latent_diffusion::loader::Checkpoint;

/// A tensor of a file: name, shape, values.
pub(crate) type Entry<'a> = (&'a str, &'a [usize], Vec<f32>);

/// A tensor of any dtype: name, dtype as headers name it, shape, bytes.
pub(crate) type RawEntry<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// A file of `f32` tensors, in memory.
pub(crate) fn file(label: &str, tensors: &[Entry<'_>]) -> Checkpoint {
    file_with(label, tensors, &[])
}

/// The same with metadata.
pub(crate) fn file_with(label: &str, tensors: &[Entry<'_>], metadata: &[(&str, &str)]) -> Checkpoint {
    file_of(label, tensors, &[], metadata)
}

/// The same with tensors of other dtypes.
pub(crate) fn file_of(
    label: &str,
    tensors: &[Entry<'_>],
    others: &[RawEntry<'_>],
    metadata: &[(&str, &str)],
) -> Checkpoint {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let singles = tensors.iter().map(|(name, shape, values)| (*name, "F32", *shape, bytes(values)));
    for (name, dtype, shape, values) in singles.chain(others.iter().cloned()) {
        let start = data.len();
        data.extend(values);
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), entry);
    }
    if !metadata.is_empty() {
        let texts = metadata.iter().map(|(key, text)| ((*key).to_owned(), (*text).into()));
        header.insert("__metadata__".to_owned(), serde_json::Value::Object(texts.collect()));
    }
    let header = serde_json::to_string(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(data);
    Checkpoint::from_bytes(label, bytes).unwrap()
}
