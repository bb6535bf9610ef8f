//! Reads the tensors of a golden file.
//!
//! The goldens are read here and not by the engine's own loader, so that a fault of the loader cannot hide in both
//! sides of a comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::index::dims;

/// All tensors of one safetensors file.
#[derive(Debug)]
pub(crate) struct GoldenFile {
    tensors: BTreeMap<String, Golden>,
}

/// One tensor: row-major values of the type in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Golden {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// The values of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl GoldenFile {
    /// Reads a whole file.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let tensors = parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { tensors })
    }

    /// The tensor called `name`, where the file has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Golden> {
        self.tensors.get(name)
    }
}

impl Golden {
    /// The values in double precision, whatever their type.
    pub(crate) fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            Values::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Values::F64(v) => v.clone(),
            Values::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Values::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
        }
    }
}

/// The layout of the file: eight bytes of header length, a JSON header, the data.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Golden>, String> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("shorter than eight bytes")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
    let (header, data) = rest.split_at_checked(length).ok_or("shorter than its header")?;
    let header: Value = serde_json::from_slice(header).map_err(|e| format!("header: {e}"))?;
    let header = header.as_object().ok_or("the header is no JSON object")?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        tensors
            .insert(name.clone(), tensor(entry, data).ok_or_else(|| format!("{name}: bad entry {entry}"))?);
    }
    Ok(tensors)
}

fn tensor(entry: &Value, data: &[u8]) -> Option<Golden> {
    let shape = dims(&entry["shape"])?;
    let offsets = dims(&entry["data_offsets"])?;
    let bytes = data.get(*offsets.first()?..*offsets.get(1)?)?;
    let values = match entry["dtype"].as_str()? {
        "F32" => Values::F32(numbers(bytes, f32::from_le_bytes)),
        "F64" => Values::F64(numbers(bytes, f64::from_le_bytes)),
        "I32" => Values::I32(numbers(bytes, i32::from_le_bytes)),
        "U8" => Values::U8(bytes.to_vec()),
        _ => return None,
    };
    let count = match &values {
        Values::F32(v) => v.len(),
        Values::F64(v) => v.len(),
        Values::I32(v) => v.len(),
        Values::U8(v) => v.len(),
    };
    (count == shape.iter().product::<usize>()).then_some(Golden { shape, values })
}

fn numbers<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}
