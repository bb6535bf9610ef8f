//! What stands for the calls of a pickle: tensors are noted, and nothing is called.

use super::globals::KnownGlobal;
use super::problem::PickleProblem;
use super::state::PickleState;
use super::value::{StorageRef, TensorView, Value};
use crate::DType;
use crate::limits::MAX_RANK;
use std::fmt::Write as _;

/// Calls within calls that are followed.
const MAX_NESTED: usize = 4;
/// Arguments that any known function has at most.
const MAX_USED: usize = 8;
/// Arguments of a refused call that are kept, and characters of each.
const MAX_ARGUMENTS: usize = 4;
const MAX_ARGUMENT: usize = 60;

/// The value of a call.
///
/// # Errors
/// Arguments that do not make a tensor.
pub(super) fn call(
    state: &mut PickleState<'_>,
    callee: Value,
    arguments: &[Value],
) -> Result<Value, PickleProblem> {
    let few = |arguments: &[Value]| arguments[..arguments.len().min(MAX_USED)].to_vec();
    let (mut callee, mut arguments) = (callee, few(arguments));
    for _ in 0..MAX_NESTED {
        let known = match callee {
            Value::Global(known) => known,
            Value::Refused(index) => {
                note(state, index, &arguments);
                return Ok(Value::Data);
            }
            Value::Data => return Ok(Value::Data),
            _ => return Err(state.malformed("a call of what is not a function")),
        };
        return match known {
            KnownGlobal::Dictionary => dictionary(state, &arguments),
            KnownGlobal::Sequence => Ok(arguments.first().copied().unwrap_or(Value::Data)),
            KnownGlobal::Tensor => tensor(state, &arguments, None),
            KnownGlobal::TypedTensor => match arguments.get(6) {
                Some(Value::Global(KnownGlobal::DType(dtype))) => tensor(state, &arguments, Some(*dtype)),
                _ => Err(state.malformed("a tensor without a dtype")),
            },
            KnownGlobal::Parameter => Ok(arguments.first().copied().unwrap_or(Value::Data)),
            KnownGlobal::Container => {
                state.heap.objects.push(Value::None);
                Ok(Value::Object(state.heap.objects.len() as u32 - 1))
            }
            KnownGlobal::FromType => {
                let inner = arguments.get(2).and_then(|inner| state.heap.sequence(*inner)).map(few);
                let (Some(function), Some(inner)) = (arguments.first().copied(), inner) else {
                    return Err(state.malformed("a tensor without a function that makes it"));
                };
                (callee, arguments) = (function, inner);
                continue;
            }
            KnownGlobal::Storage(_) | KnownGlobal::DType(_) | KnownGlobal::Data => Ok(Value::Data),
        };
    }
    Err(state.malformed("a tensor in too many others"))
}

/// An empty dictionary, or one of a list of pairs.
fn dictionary(state: &mut PickleState<'_>, arguments: &[Value]) -> Result<Value, PickleProblem> {
    let pairs = arguments.first().and_then(|list| state.heap.sequence(*list)).unwrap_or_default();
    let count = pairs.len();
    let pair = |item: &Value| match state.heap.sequence(*item) {
        Some([key, value]) => Some((*key, *value)),
        _ => None,
    };
    let entries = pairs.iter().map(pair).collect();
    // The same list may be given many times.
    state.charge(count)?;
    match entries {
        Some(entries) => Ok(state.dict(entries)),
        None => Err(state.malformed("a dictionary of what are not pairs")),
    }
}

/// A tensor of a storage, the first value, the shape and the strides.
fn tensor(
    state: &mut PickleState<'_>,
    arguments: &[Value],
    dtype: Option<DType>,
) -> Result<Value, PickleProblem> {
    let [Value::Storage(storage), Value::Int(offset), shape, strides, ..] = arguments else {
        // A storage of a class that is refused is data.
        let is_unknown = matches!(arguments.first(), Some(Value::Data | Value::Refused(_)));
        return if is_unknown { Ok(Value::Data) } else { Err(state.malformed("a tensor without a storage")) };
    };
    let numbers = |value: Value| -> Option<Vec<usize>> {
        let items = state.heap.sequence(value)?;
        let number = |item: &Value| match item {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        (items.len() <= MAX_RANK).then(|| items.iter().map(number).collect())?
    };
    let view = match (numbers(*shape), numbers(*strides), u64::try_from(*offset)) {
        (Some(shape), Some(strides), Ok(offset)) if shape.len() == strides.len() => {
            let of_storage = state.heap.storages[*storage as usize].dtype;
            dtype.or(of_storage).map(|dtype| TensorView { storage: *storage, offset, shape, strides, dtype })
        }
        _ => None,
    };
    let view = view.ok_or_else(|| state.malformed("a tensor of such a shape"))?;
    state.heap.tensors.push(view);
    Ok(Value::Tensor(state.heap.tensors.len() as u32 - 1))
}

/// The storage or tensor that an id outside the pickle names.
///
/// # Errors
/// Another kind of id.
pub(super) fn persistent(state: &mut PickleState<'_>, id: Value) -> Result<Value, PickleProblem> {
    let number = match id {
        Value::Int(number) => Some(number),
        Value::Text(span) => std::str::from_utf8(&state.data[span.range()]).ok().and_then(|t| t.parse().ok()),
        _ => None,
    };
    if let Some(tensor) = number.and_then(|number| state.numbered.get(&number)) {
        return Ok(Value::Tensor(*tensor));
    }
    let items = state.heap.sequence(id).unwrap_or_default();
    let is_text = |value: &Value, text: &str| matches!(value, Value::Text(span) if &state.data[span.range()] == text.as_bytes());
    // A class with its source, which is what it is without.
    match items {
        [kind, class, ..] if is_text(kind, "module") => return Ok(*class),
        [class @ (Value::Global(_) | Value::Refused(_)), ..] => return Ok(*class),
        _ => {}
    }
    let [
        kind,
        Value::Global(KnownGlobal::Storage(dtype)),
        Value::Text(key),
        _,
        Value::Int(values),
        view @ ..,
    ] = items
    else {
        // The sources of a class, or a storage of an unknown class.
        let is_refused = items.iter().any(|item| matches!(item, Value::Refused(_)));
        return if is_refused { Ok(Value::Data) } else { Err(state.malformed("an unknown persistent id")) };
    };
    let view = match view.first().and_then(|view| state.heap.sequence(*view)) {
        Some([_, Value::Int(offset), Value::Int(len)]) => Some((*offset as u64, *len as u64)),
        _ => None,
    };
    let Ok(values) = u64::try_from(*values) else {
        return Err(state.malformed("a storage of that length"));
    };
    if !is_text(kind, "storage") {
        return Err(state.malformed("an unknown persistent id"));
    }
    let index = state.heap.storages.len() as u32;
    state.heap.storages.push(StorageRef { key: *key, dtype: *dtype, values, view });
    Ok(Value::Storage(index))
}

/// Keeps the arguments with which something refused would have been called first.
fn note(state: &mut PickleState<'_>, index: u32, arguments: &[Value]) {
    let data = state.data;
    let Some(global) = state.refused.get_mut(index as usize).filter(|global| global.call.is_none()) else {
        return;
    };
    let mut call = String::from("(");
    for (index, argument) in arguments.iter().take(MAX_ARGUMENTS).enumerate() {
        call.push_str(if index == 0 { "" } else { ", " });
        let _ = match argument {
            Value::Text(span) => {
                let text: String =
                    String::from_utf8_lossy(&data[span.range()]).chars().take(MAX_ARGUMENT).collect();
                write!(call, "{text:?}")
            }
            Value::Int(number) => write!(call, "{number}"),
            Value::Float(number) => write!(call, "{number}"),
            Value::Bool(value) => write!(call, "{value}"),
            _ => write!(call, "…"),
        };
    }
    call.push_str(if arguments.len() > MAX_ARGUMENTS { ", …)" } else { ")" });
    global.call = Some(call);
}
