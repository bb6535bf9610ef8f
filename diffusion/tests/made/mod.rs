//! Files that tests make.

use latent_diffusion::loader::Checkpoint;

/// A tensor of a file: name, shape, values.
pub(crate) type Entry<'a> = (&'a str, &'a [usize], Vec<f32>);

/// A file of `f32` tensors, in memory.
pub(crate) fn file(label: &str, tensors: &[Entry<'_>]) -> Checkpoint {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_string(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(data);
    Checkpoint::from_bytes(label, bytes).unwrap()
}
