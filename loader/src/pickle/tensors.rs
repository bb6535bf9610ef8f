//! Where in the file the values of a pickle's tensors are.

use super::PickleFailure;
use super::names;
use super::problem::PickleProblem;
use super::state::PickleState;
use super::value::{StorageRef, TensorView, Value};
use crate::DType;
use crate::tensor_form::{Strides, TensorForm};
use std::collections::{BTreeMap, HashMap};

/// Values of a tensor that may be more than those of its storage, as `expand` makes them.
const MAX_EXPANDED: usize = 1 << 24;

/// The tensors of a file.
#[derive(Debug)]
pub(crate) struct PickledTensors {
    pub(crate) tensors: Vec<PickledTensor>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Bytes of the pickle itself.
    pub(crate) pickle_bytes: u64,
}

/// A tensor of a pickle, and where its values are in the file.
#[derive(Debug)]
pub(crate) struct PickledTensor {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) form: TensorForm,
    /// The CRC-32 that the file has of these bytes.
    pub(crate) crc32: Option<u32>,
}

/// Where a storage is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoragePlace {
    pub(super) start: u64,
    pub(super) len: u64,
    /// The CRC-32 that the file has of it.
    pub(super) crc32: Option<u32>,
}

/// Names the tensors below `root` and finds their values. `locate` gives where the storage of a key is.
///
/// # Errors
/// Those of the names and of `locate`; tensors that are not in their storage.
pub(super) fn resolve(
    state: &PickleState<'_>,
    root: Value,
    pickle_bytes: u64,
    locate: impl Fn(&str) -> Result<Option<StoragePlace>, PickleFailure>,
) -> Result<PickledTensors, PickleFailure> {
    let named = names::named(state, root)?;
    let mut places: HashMap<&str, Option<StoragePlace>> = HashMap::new();
    let mut tensors = Vec::with_capacity(named.tensors.len());
    for (name, index) in named.tensors {
        let view = &state.heap.tensors[index as usize];
        let storage = &state.heap.storages[view.storage as usize];
        let key = std::str::from_utf8(&state.data[storage.key.range()]).unwrap_or_default();
        let place = match places.get(key) {
            Some(place) => *place,
            None => *places.entry(key).or_insert(locate(key)?),
        };
        let place = place.ok_or("whose values are not in the file");
        match place.and_then(|place| Ok((tensor(view, storage, (place.start, place.len))?, place))) {
            Ok(((start, len, form), place)) => {
                let shape = view.shape.clone();
                // There is a sum of a storage as a whole, and not of the parts that views are.
                let read = form.span().unwrap_or(len) as u64;
                let crc32 = place.crc32.filter(|_| (start, read) == (place.start, place.len));
                tensors.push(PickledTensor { name, dtype: view.dtype, shape, start, len, form, crc32 });
            }
            Err(what) => return Err(PickleProblem::BadTensor { name, what }.into()),
        }
    }
    Ok(PickledTensors { tensors, metadata: named.metadata, pickle_bytes })
}

/// Where the values of a tensor begin, their bytes, and how they lie. The error says what is wrong.
fn tensor(
    view: &TensorView,
    storage: &StorageRef,
    (place, bytes): (u64, u64),
) -> Result<(u64, usize, TensorForm), &'static str> {
    const OUTSIDE: &str = "whose values are not within its storage";
    let unit = storage.dtype.map_or(1, DType::size) as u64;
    let (first, count) = storage.view.unwrap_or((0, storage.values));
    let whole = if storage.view.is_some() { bytes / unit } else { storage.values };
    if whole.checked_mul(unit) != Some(bytes) {
        return Err("whose storage has another length than the pickle says");
    }
    // Of the storage's view, in bytes.
    let end = first.checked_add(count).filter(|end| *end <= whole).ok_or(OUTSIDE)? * unit;
    let (first, size) = (first * unit, view.dtype.size());
    let values =
        view.shape.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim)).ok_or(OUTSIDE)?;
    let len = values.checked_mul(size).ok_or(OUTSIDE)?;
    let start =
        view.offset.checked_mul(size as u64).and_then(|offset| offset.checked_add(first)).ok_or(OUTSIDE)?;
    if values == 0 {
        return Ok((place, 0, TensorForm::Plain));
    }
    let reach = view.shape.iter().zip(&view.strides).try_fold(1usize, |reach, (dim, stride)| {
        (dim - 1).checked_mul(*stride).and_then(|more| reach.checked_add(more))
    });
    let span = reach.and_then(|reach| reach.checked_mul(size)).ok_or(OUTSIDE)?;
    if start.checked_add(span as u64).is_none_or(|last| last > end) {
        return Err(OUTSIDE);
    }
    let mut row_major = 1;
    let is_row_major = view.shape.iter().zip(&view.strides).rev().all(|(dim, stride)| {
        let fits = *dim == 1 || *stride == row_major;
        row_major *= dim;
        fits
    });
    if is_row_major {
        return Ok((place + start, len, TensorForm::Plain));
    }
    if values > MAX_EXPANDED && len > span {
        return Err("which is larger than its storage");
    }
    let strides = Strides { steps: view.strides.clone(), span };
    Ok((place + start, len, TensorForm::Strided(strides)))
}
