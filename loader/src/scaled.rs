//! Weights of 8 bits that are multiplied by a scale, which lies in a tensor beside them.
//!
//! Of a layer `X`, `X.weight` is of `F8_E4M3`, `F8_E5M2` or `I8`, and `X.scale_weight` (or `X.weight_scale`) has one value for all
//! of it or one for each row: `value = weight * scale`, in `f32`. A tensor `PREFIX.scaled_fp8` marks files of the first kind;
//! in newer ones, `X.comfy_quant` has a small JSON text that names the format. `X.scale_input` (`X.input_scale`) is for
//! products of 8 bits, which are not computed here.
//!
//! In an opened checkpoint these tensors are not among the others: a weight knows its scale, and is read with it.

use crate::byte_source::ByteSource;
use crate::files::{CheckpointFiles, TensorInfo};
use crate::tensor_form::{TensorForm, TensorScale};
use crate::{DType, LoadError, RawTensor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Endings of tensors that hold the scale of a weight.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
/// Endings of tensors that a layer of 8 bits has besides and that nothing here depends on.
const UNUSED: [&str; 2] = [".scale_input", ".input_scale"];
/// The tensor that marks a file of scaled weights.
const MARKER: &str = "scaled_fp8";
/// Ending of the text that names a layer's format.
const FORMAT: &str = ".comfy_quant";
/// Formats that such a text may name.
const FORMATS: [&str; 3] = ["float8_e4m3fn", "float8_e5m2", "int8_tensorwise"];
/// Maximum length of such a text; real ones have a few dozen bytes.
const MAX_FORMAT_BYTES: usize = 4096;
/// In the names of what bitsandbytes stores beside a weight of 4 bits, before the name of the format.
const BITSANDBYTES: &str = ".quant_state.bitsandbytes__";

/// The text of a layer's format.
#[derive(Deserialize)]
struct LayerFormat {
    format: String,
    #[serde(default)]
    convrot: serde_json::Value,
}

/// Gives the weights of files that were added their scales, and takes the tensors with these out of the list.
///
/// # Errors
/// [`LoadError::UnsupportedQuantization`]: a format of less than 8 bits, or scales of another shape.
pub(crate) fn fold(files: &mut CheckpointFiles) -> Result<(), LoadError> {
    let is_part = |name: &str| {
        let mut endings = SCALES.iter().chain(&UNUSED).chain([&FORMAT]);
        is_marker(name) || name.contains(BITSANDBYTES) || endings.any(|ending| name.ends_with(ending))
    };
    if !files.tensors.iter().any(|tensor| is_part(&tensor.name)) {
        return Ok(());
    }
    let by_name: BTreeMap<&str, usize> =
        files.tensors.iter().enumerate().map(|(index, tensor)| (&*tensor.name, index)).collect();
    let (mut scales, mut parts) = (BTreeMap::new(), BTreeSet::new());
    for (index, tensor) in files.tensors.iter().enumerate() {
        let refuse = |format: &str| {
            let file = files.sources[tensor.source].label.clone();
            LoadError::UnsupportedQuantization {
                file,
                tensor: tensor.name.clone(),
                format: format.to_owned(),
            }
        };
        if is_marker(&tensor.name) {
            parts.insert(index);
        } else if let Some((_, format)) = tensor.name.split_once(BITSANDBYTES) {
            return Err(refuse(&format!("{format} of bitsandbytes")));
        } else if let Some(layer) = strip_any(&tensor.name, &[FORMAT]) {
            check_format(tensor, &files.sources[tensor.source]).map_err(|format| refuse(&format))?;
            let lacks_scale = |index: &usize| {
                let is_int = files.tensors[*index].dtype == DType::I8;
                is_int && !SCALES.iter().any(|ending| by_name.contains_key(&*format!("{layer}{ending}")))
            };
            if by_name.get(&*format!("{layer}.weight")).is_some_and(lacks_scale) {
                return Err(refuse("int8 without a scale"));
            }
            parts.insert(index);
        } else if let Some(layer) = strip_any(&tensor.name, &SCALES) {
            let Some(weight) = by_name.get(&*format!("{layer}.weight")) else { continue };
            let scale = scale_of(&files.tensors[*weight], tensor).map_err(|format| refuse(&format))?;
            scales.insert(*weight, scale);
            parts.insert(index);
        } else if let Some(layer) = strip_any(&tensor.name, &UNUSED)
            && by_name.contains_key(&*format!("{layer}.weight"))
        {
            parts.insert(index);
        }
    }
    for (index, scale) in scales {
        files.tensors[index].form = TensorForm::Scaled(scale);
    }
    let mut index = 0..;
    files.tensors.retain(|_| index.next().is_some_and(|index| !parts.contains(&index)));
    Ok(())
}

fn is_marker(name: &str) -> bool {
    name.strip_suffix(MARKER).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn strip_any<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    endings.iter().find_map(|ending| name.strip_suffix(ending))
}

/// Whether the format that a text names is one of 8 bits. The error names it.
fn check_format(text: &TensorInfo, source: &ByteSource) -> Result<(), String> {
    let mut bytes = vec![0; text.len.min(MAX_FORMAT_BYTES)];
    if source.read_at(text.start, &mut bytes).is_err() {
        // Only the header is here: nothing can be read, and the weights cannot either.
        return Ok(());
    }
    let LayerFormat { format, convrot } =
        serde_json::from_slice(&bytes).map_err(|_| "a format that is not named".to_owned())?;
    if !matches!(convrot, serde_json::Value::Null | serde_json::Value::Bool(false)) {
        return Err(format!("{format} with rotated rows (convrot)"));
    }
    if FORMATS.contains(&&*format) { Ok(()) } else { Err(format) }
}

/// The scale of a weight, where both have the form that is known. The error names the format.
fn scale_of(weight: &TensorInfo, scale: &TensorInfo) -> Result<TensorScale, String> {
    let (rows, values) = (weight.shape.first().copied().unwrap_or(1), scale.elements());
    let is_of_rows = values == rows && scale.shape.first() == Some(&rows);
    let is_float = matches!(scale.dtype, DType::F32 | DType::F16 | DType::BF16);
    let is_known = weight.dtype == DType::I8 || (weight.dtype.is_weight() && !weight.dtype.is_block_format());
    if !is_known || !is_float || !(values == 1 || is_of_rows) {
        let (weight, scale) = ((weight.dtype, &weight.shape), (scale.dtype, &scale.shape));
        let text = |(dtype, shape): (DType, &Vec<usize>)| format!("{} {shape:?}", dtype.header_name());
        return Err(format!("{} with scales of {}", text(weight), text(scale)));
    }
    Ok(TensorScale { source: scale.source, start: scale.start, len: scale.len, dtype: scale.dtype })
}

/// The values of a weight times its scales, in `f32`.
pub(crate) fn dequantized(raw: &RawTensor, scales: &[f32]) -> Result<RawTensor, LoadError> {
    let mut values = match raw.dtype {
        DType::I8 => raw.data.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        _ => raw.to_f32()?,
    };
    let row = values.len().div_ceil(scales.len().max(1)).max(1);
    for (values, scale) in values.chunks_mut(row).zip(scales) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(RawTensor { dtype: DType::F32, shape: raw.shape.clone(), data: data.into() })
}
