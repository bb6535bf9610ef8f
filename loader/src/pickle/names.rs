//! The names of the tensors that a pickle holds.

use super::problem::PickleProblem;
use super::state::PickleState;
use super::value::Value;
use crate::limits::{MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_TENSORS};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

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
    let mut walk = NameWalk {
        state,
        named: &mut named.tensors,
        children: HashMap::new(),
        path: Vec::new(),
        visited: 0,
        bytes: 0,
    };
    match root {
        // A file of a single tensor.
        Value::Tensor(tensor) => walk.add("tensor".to_owned(), tensor)?,
        root => walk.collection(root, "")?,
    }
    if named.tensors.is_empty() {
        return Err(PickleProblem::NoTensors);
    }
    Ok(named)
}

/// A tensor or a collection in a collection, under its name there.
type Child = (String, Value);

struct NameWalk<'m, 'd> {
    state: &'m PickleState<'d>,
    named: &'m mut BTreeMap<String, u32>,
    /// What is in the collections that were met.
    children: HashMap<CollectionId, Rc<[Child]>>,
    /// The collections around the one that is looked into.
    path: Vec<CollectionId>,
    visited: usize,
    /// Of all names so far.
    bytes: usize,
}

/// Which collection a value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum CollectionId {
    Tuple(u32),
    List(u32),
    Dict(u32),
    Object(u32),
}

impl CollectionId {
    fn of(value: Value) -> Option<CollectionId> {
        Some(match value {
            Value::Tuple(index) => CollectionId::Tuple(index),
            Value::List(index) => CollectionId::List(index),
            Value::Dict(index) => CollectionId::Dict(index),
            Value::Object(index) => CollectionId::Object(index),
            _ => return None,
        })
    }
}

impl NameWalk<'_, '_> {
    /// Names what is below a collection. One that is within itself is looked into once.
    fn collection(&mut self, value: Value, prefix: &str) -> Result<(), PickleProblem> {
        let Some(id) = CollectionId::of(value) else { return Ok(()) };
        if self.path.len() > MAX_DEPTH || self.path.contains(&id) {
            return Ok(());
        }
        let children = match self.children.get(&id) {
            Some(children) => children.clone(),
            None => {
                let children: Rc<[Child]> = self.children_of(value)?.into();
                self.children.insert(id, children.clone());
                children
            }
        };
        self.path.push(id);
        for (name, value) in children.iter() {
            self.visit(*value, prefix, name)?;
        }
        self.path.pop();
        Ok(())
    }

    /// The tensors and collections in a collection.
    fn children_of(&mut self, value: Value) -> Result<Vec<Child>, PickleProblem> {
        let PickleState { heap, data, .. } = self.state;
        let counts = |value: &Value| matches!(value, Value::Tensor(_)) || CollectionId::of(*value).is_some();
        let Some(entries) = heap.entries(data, value) else {
            let items = heap.sequence(value).unwrap_or_default();
            self.count(items.len())?;
            let items = items.iter().enumerate().filter(|(_, value)| counts(value));
            return Ok(items.map(|(index, value)| (index.to_string(), *value)).collect());
        };
        self.count(entries.len())?;
        let text = |key: &Value| match key {
            Value::Text(span) => Some(&data[span.range()]),
            _ => None,
        };
        // As in Python, the last of two entries of one key counts.
        let keys = entries.iter().enumerate().filter_map(|(index, (key, _))| Some((text(key)?, index)));
        let last: HashMap<&[u8], usize> = keys.collect();
        let mut children = Vec::new();
        for (index, (key, value)) in entries.iter().enumerate().filter(|(_, (_, value))| counts(value)) {
            let name = match (key, text(key)) {
                (_, Some(key)) if last.get(key) != Some(&index) => continue,
                (_, Some(key)) => String::from_utf8_lossy(key).into_owned(),
                (Value::Int(number), None) => number.to_string(),
                _ => continue,
            };
            if name.len() > MAX_NAME_BYTES {
                return Err(PickleProblem::NameTooLong { name });
            }
            children.push((name, *value));
        }
        Ok(children)
    }

    /// Counts values that are looked at.
    fn count(&mut self, values: usize) -> Result<(), PickleProblem> {
        self.visited += values;
        if self.visited > MAX_VISITED {
            return Err(PickleProblem::TooMany { what: "values", limit: MAX_VISITED as u64 });
        }
        Ok(())
    }

    fn visit(&mut self, value: Value, prefix: &str, name: &str) -> Result<(), PickleProblem> {
        self.count(1)?;
        let name = format!("{prefix}{name}");
        if name.len() > MAX_NAME_BYTES {
            return Err(PickleProblem::NameTooLong { name });
        }
        match value {
            Value::Tensor(tensor) => self.add(name, tensor),
            value => self.collection(value, &format!("{name}.")),
        }
    }

    fn add(&mut self, name: String, tensor: u32) -> Result<(), PickleProblem> {
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
