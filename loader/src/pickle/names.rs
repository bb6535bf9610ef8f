//! The names of the tensors that a pickle holds.

use super::problem::PickleProblem;
use super::state::PickleState;
use super::value::Value;
use crate::limits::{MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_TENSORS};
use std::collections::{BTreeMap, HashMap};

/// Entries under which programs put the weights, beside what they need to go on training. The earlier is taken.
const NESTED: [&str; 6] =
    ["state_dict", "params_ema", "params", "model", "model_state_dict", "string_to_param"];
/// Such entries within each other.
const MAX_NESTED: usize = 4;
/// Collections within each other that are looked into.
const MAX_DEPTH: usize = 16;
/// Values that are looked at.
const MAX_VISITED: usize = 2 << 20;
/// Maximum bytes of all names; those of models are less than a megabyte.
const MAX_NAMES_BYTES: usize = 16 << 20;
/// Maximum length of a text that becomes metadata.
const MAX_TEXT: usize = 4096;

/// Tensors by name, and what a checkpoint says besides.
#[derive(Debug, Default)]
pub(super) struct NamedTensors {
    /// Indices of tensors.
    pub(super) tensors: BTreeMap<String, u32>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Names the tensors below a value: the keys on the way to each, with dots between them.
///
/// # Errors
/// Too many, two of one name, none.
pub(super) fn named(state: &PickleState<'_>, root: Value) -> Result<NamedTensors, PickleProblem> {
    let mut named = NamedTensors { metadata: metadata(state, root), ..NamedTensors::default() };
    let mut root = root;
    for _ in 0..MAX_NESTED {
        let heap = &state.heap;
        let inner = NESTED.iter().filter_map(|key| heap.get(state.data, root, key));
        let is_collection =
            |value: &Value| heap.entries(state.data, *value).is_some_and(|all| !all.is_empty());
        match inner.into_iter().find(is_collection) {
            Some(inner) => root = inner,
            None => break,
        }
    }
    let mut walk = NameWalk { state, named: &mut named.tensors, visited: 0, bytes: 0 };
    match root {
        // A file of a single tensor.
        Value::Tensor(tensor) => walk.add("tensor".to_owned(), tensor)?,
        root => walk.collection(root, "", 0)?,
    }
    if named.tensors.is_empty() {
        return Err(PickleProblem::NoTensors);
    }
    Ok(named)
}

struct NameWalk<'m, 'd> {
    state: &'m PickleState<'d>,
    named: &'m mut BTreeMap<String, u32>,
    visited: usize,
    /// Of all names so far.
    bytes: usize,
}

impl NameWalk<'_, '_> {
    fn collection(&mut self, value: Value, prefix: &str, depth: usize) -> Result<(), PickleProblem> {
        let state = self.state;
        if depth > MAX_DEPTH {
            return Ok(());
        }
        if let Some(entries) = state.heap.entries(state.data, value) {
            // As in Python, the last of two entries of one key counts.
            let last: HashMap<&[u8], usize> = entries
                .iter()
                .enumerate()
                .filter_map(|(index, (key, _))| match key {
                    Value::Text(span) => Some((&state.data[span.range()], index)),
                    _ => None,
                })
                .collect();
            for (index, (key, value)) in entries.iter().enumerate() {
                let name = match key {
                    Value::Text(span) => {
                        let key = &state.data[span.range()];
                        if last.get(key) != Some(&index) {
                            continue;
                        }
                        String::from_utf8_lossy(key).into_owned()
                    }
                    Value::Int(number) => number.to_string(),
                    _ => continue,
                };
                self.visit(*value, prefix, &name, depth)?;
            }
        } else if let Some(items) = state.heap.sequence(value) {
            for (index, value) in items.iter().enumerate() {
                self.visit(*value, prefix, &index.to_string(), depth)?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, value: Value, prefix: &str, name: &str, depth: usize) -> Result<(), PickleProblem> {
        self.visited += 1;
        if self.visited > MAX_VISITED {
            return Err(PickleProblem::TooMany { what: "values", limit: MAX_VISITED as u64 });
        }
        match value {
            Value::Tensor(tensor) => self.add(format!("{prefix}{name}"), tensor),
            Value::Dict(_) | Value::Object(_) | Value::List(_) | Value::Tuple(_) => {
                if prefix.len() + name.len() > MAX_NAME_BYTES {
                    return Err(PickleProblem::NameTooLong { name: format!("{prefix}{name}") });
                }
                self.collection(value, &format!("{prefix}{name}."), depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, name: String, tensor: u32) -> Result<(), PickleProblem> {
        if name.len() > MAX_NAME_BYTES {
            return Err(PickleProblem::NameTooLong { name });
        }
        if self.named.len() == MAX_TENSORS {
            return Err(PickleProblem::TooMany { what: "tensors", limit: MAX_TENSORS as u64 });
        }
        // A long prefix may be written once for many.
        self.bytes += name.len();
        if self.bytes > MAX_NAMES_BYTES {
            return Err(PickleProblem::TooMany { what: "bytes of names", limit: MAX_NAMES_BYTES as u64 });
        }
        match self.named.insert(name.clone(), tensor) {
            None => Ok(()),
            Some(_) => Err(PickleProblem::DuplicateName { name }),
        }
    }
}

/// Texts and numbers right in the pickle's dictionary: the name of a word, the number of steps.
fn metadata(state: &PickleState<'_>, root: Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Text(span) => {
            let text = std::str::from_utf8(&state.data[span.range()]).ok();
            text.filter(|text| text.len() <= MAX_TEXT).map(str::to_owned)
        }
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    let Value::Dict(_) = root else { return BTreeMap::new() };
    let entries = state.heap.entries(state.data, root).unwrap_or_default();
    let texts = entries.iter().filter_map(|(key, value)| match key {
        Value::Text(span) if span.range().len() <= MAX_NAME_BYTES => Some((text(key)?, text(value)?)),
        _ => None,
    });
    texts.take(MAX_METADATA_ENTRIES).collect()
}
