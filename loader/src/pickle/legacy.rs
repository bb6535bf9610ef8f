//! Files of `torch.save` before PyTorch 1.6: pickles one after the other, then the storages.
//!
//! The pickles are a magic number, the version of the form, facts about the machine, the object itself, and the keys of the
//! storages. Each storage is the number of its values (8 bytes) and the values.

use super::machine::PickleMachine;
use super::problem::PickleProblem;
use super::state::PickleState;
use super::tensors::{self, PickledTensors, StoragePlace};
use super::value::{PickleRange, StorageRef, Value};
use super::{MAX_PICKLE_BYTES, PickleFailure, broken};
use crate::DType;
use crate::byte_source::ByteSource;
use std::collections::HashMap;

/// The magic number 0x1950a86a20f9469cfc6c, the lowest byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The version of the form.
const VERSION: i64 = 1001;
/// Bytes that are read first. Where the pickles are longer, twice as many are read again.
const BEGINNING: u64 = 1 << 18;

pub(super) fn read(source: &ByteSource) -> Result<PickledTensors, PickleFailure> {
    let most = source.len.min(MAX_PICKLE_BYTES);
    let mut len = most.min(BEGINNING);
    loop {
        let mut data = vec![0; len as usize];
        source.read_at(0, &mut data)?;
        let mut machine = PickleMachine::new(&data);
        match pickles(&mut machine) {
            Err(PickleProblem::Truncated) if len < most => len = most.min(2 * len),
            Err(PickleProblem::Truncated) if len < source.len => {
                machine.state.refuse()?;
                return Err(
                    PickleProblem::TooMany { what: "bytes of a pickle", limit: MAX_PICKLE_BYTES }.into()
                );
            }
            result => {
                machine.state.refuse()?;
                let (root, keys) = result?;
                return storages(source, &machine.state, root, &keys);
            }
        }
    }
}

/// The object and the keys of the storages.
fn pickles(machine: &mut PickleMachine<'_>) -> Result<(Value, Vec<Value>), PickleProblem> {
    match machine.run()? {
        Value::Long(span) if machine.state.data[span.range()] == MAGIC => {}
        _ => return Err(PickleProblem::NotPyTorch),
    }
    if machine.run()? != Value::Int(VERSION) {
        return Err(machine.state.malformed("another version of the form"));
    }
    let system = machine.run()?;
    if machine.state.heap.get(machine.state.data, system, "little_endian") == Some(Value::Bool(false)) {
        return Err(machine.state.malformed("values of a big-endian machine, which are not read"));
    }
    let root = machine.run()?;
    let keys = machine.run()?;
    let keys = machine.state.heap.sequence(keys).map(<[Value]>::to_vec);
    Ok((root, keys.ok_or_else(|| machine.state.malformed("no list of storages"))?))
}

fn storages(
    source: &ByteSource,
    state: &PickleState<'_>,
    root: Value,
    keys: &[Value],
) -> Result<PickledTensors, PickleFailure> {
    let text = |key: PickleRange| &state.data[key.range()];
    let known: HashMap<&[u8], &StorageRef> =
        state.heap.storages.iter().map(|storage| (text(storage.key), storage)).collect();
    let mut places: HashMap<&[u8], StoragePlace> = HashMap::new();
    let mut at = state.at as u64;
    for key in keys {
        let Value::Text(key) = key else { return Err(state.malformed("a key that is not a text").into()) };
        let key = text(*key);
        let Some(storage) = known.get(key) else {
            return Err(state.malformed("a storage of an unknown kind").into());
        };
        let mut count = [0; 8];
        if at + 8 > source.len {
            return Err(PickleProblem::Truncated.into());
        }
        source.read_at(at, &mut count)?;
        let unit = storage.dtype.map_or(1, DType::size) as u64;
        let bytes = u64::from_le_bytes(count).checked_mul(unit);
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes)).filter(|end| *end <= source.len);
        let (Some(bytes), Some(end)) = (bytes, end) else { return Err(PickleProblem::Truncated.into()) };
        if places.insert(key, StoragePlace { start: at + 8, len: bytes, crc32: None }).is_some() {
            return Err(state.malformed("a storage twice").into());
        }
        at = end;
    }
    if at != source.len {
        return Err(broken("it has trailing bytes after its last storage"));
    }
    tensors::resolve(state, root, state.at as u64, |key| Ok(places.get(key.as_bytes()).copied()))
}
