//! What a pickle builds. Everything is an index into lists, so that neither a circle nor a tower of a million tuples matters:
//! nothing is walked but by loops with a limit, and nothing is freed by recursion.

use super::globals::KnownGlobal;
use crate::DType;
use std::ops::Range;

/// Entries of the state of an object; modules have about a dozen.
const MAX_STATE: usize = 64;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, as the bytes of the pickle.
    Long(PickleRange),
    Float(f64),
    Text(PickleRange),
    Tuple(u32),
    List(u32),
    Dict(u32),
    Global(KnownGlobal),
    /// One that is not known: an index among those that are refused.
    Refused(u32),
    Storage(u32),
    Tensor(u32),
    /// An object of a container class: an index to its state.
    Object(u32),
    /// Something that no tensor depends on.
    Data,
}

/// A range of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PickleRange {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl PickleRange {
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A storage that the pickle names.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageRef {
    /// Where the pickle has its key.
    pub(super) key: PickleRange,
    /// The dtype of its values; `None` if it counts bytes.
    pub(super) dtype: Option<DType>,
    /// Number of its values.
    pub(super) values: u64,
    /// Where a part of another storage begins in it, and its number of values.
    pub(super) view: Option<(u64, u64)>,
}

/// A tensor: values of a storage.
#[derive(Clone, Debug)]
pub(super) struct TensorView {
    pub(super) storage: u32,
    /// The first value.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dtype: DType,
}

/// All that was built.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// Of tuples and lists.
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<StorageRef>,
    pub(super) tensors: Vec<TensorView>,
    /// The state of each object.
    pub(super) objects: Vec<Value>,
}

impl Heap {
    /// The items of a tuple or a list.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(index) | Value::List(index) => self.sequences.get(index as usize).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The entries of a dictionary, or of the parameters that an object holds.
    pub(super) fn entries(&self, data: &[u8], value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index as usize).map(Vec::as_slice),
            Value::Object(index) => {
                let Value::Dict(state) = *self.objects.get(index as usize)? else { return None };
                // It is searched whenever the object is met.
                if self.dicts.get(state as usize)?.len() > MAX_STATE {
                    return None;
                }
                let parameters = self.get(data, Value::Dict(state), "_parameters")?;
                let Value::Dict(parameters) = parameters else { return None };
                self.dicts.get(parameters as usize).map(Vec::as_slice)
            }
            _ => None,
        }
    }

    /// The last value of a key in a dictionary.
    pub(super) fn get(&self, data: &[u8], dict: Value, key: &str) -> Option<Value> {
        let Value::Dict(index) = dict else { return None };
        let is_key =
            |value: &Value| matches!(value, Value::Text(span) if &data[span.range()] == key.as_bytes());
        self.dicts.get(index as usize)?.iter().rev().find(|(own, _)| is_key(own)).map(|(_, value)| *value)
    }
}
