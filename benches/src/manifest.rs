//! The list of tensors of a checkpoint.
//!
//! A manifest is JSON: `family`, `scale`, `layout`, `files` (file name to entries) and, for the folder layout,
//! `configs` (file name to JSON). An entry has `name`, `dtype` (`W` = the weight type asked for) and `shape`, and
//! where its values are not simply those of its own name:
//!
//! - `src`, `src_shape`: the values of this other tensor, so that a renamed tensor holds the same weights;
//! - `rows: [a, b]`: only rows `a .. b` of it;
//! - `op: "t"`: its transpose; `op: "squeeze"`: the same elements in a shape without the trailing ones; `op: "swap"`: its halves,
//!   the second one first;
//! - `fixed`: not random: `arange`, `w:X` / `f32:X` / `i32:X` (the constant X) or `schedule:NAME`.
//!
//! Other keys are ignored. Everything is checked while parsing, so that writing cannot fail half way.

use std::collections::BTreeMap;

use serde::Deserialize;

use latent_dtype::DType;

use crate::error::SynthError;
use crate::schedule;

/// The tensors of every file of a checkpoint.
#[derive(Debug, Clone)]
pub struct Manifest {
    family: String,
    scale: String,
    layout: String,
    files: BTreeMap<String, Vec<TensorEntry>>,
    configs: BTreeMap<String, serde_json::Value>,
}

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// The name in the file.
    pub name: String,
    /// The shape in the file.
    pub shape: Vec<usize>,
    /// `None` for the dtype that the weights of the checkpoint are written in.
    pub(crate) dtype: Option<DType>,
    pub(crate) content: Content,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// Random numbers: those of the tensor `name` of `shape`.
    Random { name: String, shape: Vec<usize>, order: Order },
    /// 0, 1, 2, ...
    Arange,
    /// The same number everywhere.
    Constant(f64),
    /// A buffer of the noise schedule.
    Buffer(Vec<f32>),
}

/// Which element of the source is at which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row-major, from this element on.
    From(usize),
    /// Transposed from a source of this many rows and columns.
    Transposed { rows: usize, columns: usize },
    /// The second half of that many elements, then the first.
    Swapped { elements: usize },
}

#[derive(Deserialize)]
struct RawManifest {
    #[serde(default)]
    family: String,
    #[serde(default)]
    scale: String,
    #[serde(default)]
    layout: String,
    files: BTreeMap<String, Vec<RawEntry>>,
    #[serde(default)]
    configs: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RawEntry {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    src: Option<String>,
    src_shape: Option<Vec<usize>>,
    rows: Option<[usize; 2]>,
    op: Option<String>,
    fixed: Option<String>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`SynthError::Json`] where the text is not a manifest, [`SynthError::Entry`] where an entry contradicts itself.
    pub fn parse(json: &str) -> Result<Self, SynthError> {
        let raw: RawManifest = serde_json::from_str(json).map_err(|e| SynthError::Json(e.to_string()))?;
        let mut files = BTreeMap::new();
        for (file, entries) in raw.files {
            let parsed = entries.into_iter().map(|entry| {
                let tensor = entry.name.clone();
                entry.check().map_err(|problem| SynthError::Entry { file: file.clone(), tensor, problem })
            });
            let parsed = parsed.collect::<Result<Vec<TensorEntry>, _>>()?;
            files.insert(file, parsed);
        }
        Ok(Self { family: raw.family, scale: raw.scale, layout: raw.layout, files, configs: raw.configs })
    }

    /// The model family, for example `sd15`.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// `tiny` or `full`.
    pub fn scale(&self) -> &str {
        &self.scale
    }

    /// `single` (one file) or `diffusers` (a folder).
    pub fn layout(&self) -> &str {
        &self.layout
    }

    /// Every safetensors file of the checkpoint with its entries, in the order they have in the file.
    pub fn files(&self) -> &BTreeMap<String, Vec<TensorEntry>> {
        &self.files
    }

    /// The JSON files beside the weights in the folder layout; empty for a single file.
    pub fn configs(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.configs
    }
}

impl TensorEntry {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl RawEntry {
    fn check(self) -> Result<TensorEntry, String> {
        let elements = elements(&self.shape)?;
        let dtype = match self.dtype.as_str() {
            "W" => None,
            "F32" => Some(DType::F32),
            "I32" => Some(DType::I32),
            "I64" => Some(DType::I64),
            other => return Err(format!("unknown dtype {other:?}: use W, F32, I32 or I64")),
        };
        let content = match &self.fixed {
            Some(fixed) => fixed_content(fixed, dtype, elements)?,
            None => self.random_content(dtype, elements)?,
        };
        Ok(TensorEntry { name: self.name, shape: self.shape, dtype, content })
    }

    fn random_content(&self, dtype: Option<DType>, wanted: usize) -> Result<Content, String> {
        if !matches!(dtype, None | Some(DType::F32)) {
            return Err(format!("an integer tensor needs \"fixed\", got dtype {}", self.dtype));
        }
        let name = self.src.as_ref().unwrap_or(&self.name).clone();
        let shape = self.src_shape.as_ref().unwrap_or(&self.shape).clone();
        let total = elements(&shape)?;
        let (order, got) = match (self.rows, self.op.as_deref()) {
            (None, None | Some("squeeze")) => (Order::From(0), total),
            (Some([a, b]), None) => {
                let rows = shape.first().copied().unwrap_or(0);
                if a > b || b > rows {
                    return Err(format!("rows [{a}, {b}] are not within the {rows} rows of {name:?}"));
                }
                let columns = total.checked_div(rows).unwrap_or(0);
                (Order::From(a * columns), (b - a) * columns)
            }
            (None, Some("t")) => match shape[..] {
                [rows, columns] if self.shape == [columns, rows] => {
                    (Order::Transposed { rows, columns }, total)
                }
                _ => return Err(format!("op \"t\" cannot make {:?} of {shape:?}", self.shape)),
            },
            (None, Some("swap")) if total.is_multiple_of(2) => (Order::Swapped { elements: total }, total),
            (None, Some(op)) => return Err(format!("unknown op {op:?}: use t, squeeze or swap (of halves)")),
            (Some(_), Some(_)) => return Err("rows and op cannot be combined".to_owned()),
        };
        if got != wanted {
            return Err(format!("shape {:?} has {wanted} elements, its source {got}", self.shape));
        }
        Ok(Content::Random { name, shape, order })
    }
}

/// The number of elements of a shape, as long as that many 8-byte elements can be counted.
fn elements(shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1usize, |product, &d| product.checked_mul(d))
        .filter(|n| n.checked_mul(8).is_some())
        .ok_or_else(|| format!("shape {shape:?} is too large"))
}

/// The name of a dtype in a manifest.
fn entry_dtype_name(dtype: Option<DType>) -> &'static str {
    dtype.map_or("W", DType::header_name)
}

fn fixed_content(fixed: &str, dtype: Option<DType>, elements: usize) -> Result<Content, String> {
    let (kind, argument) = fixed.split_once(':').unwrap_or((fixed, ""));
    let needs = match kind {
        "arange" => Some(DType::I64),
        "w" => None,
        "f32" | "schedule" => Some(DType::F32),
        "i32" => Some(DType::I32),
        _ => return Err(format!("unknown fixed {fixed:?}: use arange, w:X, f32:X, i32:X or schedule:NAME")),
    };
    if needs != dtype {
        return Err(format!(
            "fixed {fixed:?} is for dtype {}, got {}",
            entry_dtype_name(needs),
            entry_dtype_name(dtype)
        ));
    }
    let no_number = |why: String| format!("fixed {fixed:?} has no number: {why}");
    match kind {
        "arange" => Ok(Content::Arange),
        "i32" => {
            let number: i32 = argument.parse().map_err(|e| no_number(format!("{e}")))?;
            Ok(Content::Constant(f64::from(number)))
        }
        "schedule" => {
            let values =
                schedule::buffer(argument).ok_or_else(|| format!("unknown schedule buffer {argument:?}"))?;
            if values.len() != elements {
                return Err(format!("a schedule buffer has {} elements, got {elements}", values.len()));
            }
            Ok(Content::Buffer(values))
        }
        _ => Ok(Content::Constant(argument.parse().map_err(|e| no_number(format!("{e}")))?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(entry: &str) -> String {
        match Manifest::parse(&format!(r#"{{"files": {{"f": [{entry}]}}}}"#)) {
            Err(SynthError::Entry { problem, .. }) => problem,
            other => panic!("expected a refused entry, got {other:?}"),
        }
    }

    #[test]
    fn not_json() {
        assert!(matches!(Manifest::parse("{"), Err(SynthError::Json(_))));
    }

    #[test]
    fn no_files() {
        assert!(matches!(Manifest::parse("{}"), Err(SynthError::Json(why)) if why.contains("files")));
    }

    #[test]
    fn unknown_dtype() {
        assert!(problem(r#"{"name": "a", "dtype": "F8", "shape": [1]}"#).contains("unknown dtype"));
    }

    #[test]
    fn random_integers() {
        assert!(problem(r#"{"name": "a", "dtype": "I64", "shape": [1]}"#).contains("fixed"));
    }

    #[test]
    fn too_many_elements() {
        let entry = r#"{"name": "a", "dtype": "W", "shape": [4294967296, 4294967296]}"#;
        assert!(problem(entry).contains("too large"));
    }

    #[test]
    fn source_of_another_size() {
        let entry = r#"{"name": "a", "dtype": "W", "shape": [4], "src": "b", "src_shape": [5]}"#;
        assert!(problem(entry).contains("its source 5"));
    }

    #[test]
    fn rows_outside_the_source() {
        let entry = r#"{"name": "a", "dtype": "W", "shape": [2, 3], "src": "b", "src_shape": [6, 3], "rows": [5, 7]}"#;
        assert!(problem(entry).contains("rows [5, 7]"));
    }

    #[test]
    fn transpose_of_a_vector() {
        assert!(problem(r#"{"name": "a", "dtype": "W", "shape": [4], "op": "t"}"#).contains("op \"t\""));
    }

    #[test]
    fn unknown_op() {
        assert!(problem(r#"{"name": "a", "dtype": "W", "shape": [4], "op": "flip"}"#).contains("flip"));
    }

    #[test]
    fn unknown_fixed() {
        assert!(problem(r#"{"name": "a", "dtype": "W", "shape": [4], "fixed": "zeros"}"#).contains("zeros"));
    }

    #[test]
    fn fixed_of_another_dtype() {
        let entry = r#"{"name": "a", "dtype": "W", "shape": [4], "fixed": "arange"}"#;
        assert!(problem(entry).contains("I64"));
    }

    #[test]
    fn constant_without_a_number() {
        let entry = r#"{"name": "a", "dtype": "W", "shape": [4], "fixed": "w:x"}"#;
        assert!(problem(entry).contains("no number"));
    }

    #[test]
    fn schedule_of_another_length() {
        let entry = r#"{"name": "betas", "dtype": "F32", "shape": [4], "fixed": "schedule:betas"}"#;
        assert!(problem(entry).contains("1000 elements"));
    }
}
