//! The tar archives that `torch.save` wrote in the first year of PyTorch.
//!
//! `storages` has pickles of `(id, place, class)`, each with the number of values (8 bytes) and the values behind it, and at its
//! end a list of storages that are parts of others. `tensors` has pickles of `(id, storage, class)`, each with rank, shape,
//! strides and offset behind it. `pickle` is the object, which names tensors by their ids.

use super::globals::KnownGlobal;
use super::machine::PickleMachine;
use super::problem::PickleProblem;
use super::tensors::{self, PickledTensors, StoragePlace};
use super::value::{PickleRange, StorageRef, TensorView, Value};
use super::{MAX_PICKLE_BYTES, PickleFailure, broken};
use crate::DType;
use crate::byte_source::ByteSource;
use crate::limits::{MAX_RANK, MAX_TENSORS};
use std::collections::HashMap;

const BLOCK: u64 = 512;
/// Maximum number of files; there are four.
const MAX_FILES: usize = 64;
/// Maximum bytes of one of the small pickles.
const MAX_SMALL: u64 = 1 << 14;

/// A storage: its dtype, its number of values, and where they are.
#[derive(Clone, Copy)]
struct TarStorage {
    dtype: DType,
    values: u64,
    start: u64,
    view: Option<(u64, u64)>,
}

pub(super) fn read(source: &ByteSource) -> Result<PickledTensors, PickleFailure> {
    let files = files(source)?;
    let file = |name: &str| {
        files.get(name).copied().ok_or_else(|| broken("it is a tar archive that torch.save did not write"))
    };
    let storages = read_storages(source, file("storages")?)?;
    let views = read_tensors(source, file("tensors")?)?;
    let (start, end) = file("pickle")?;
    if end - start > MAX_PICKLE_BYTES {
        return Err(PickleProblem::TooMany { what: "bytes of a pickle", limit: MAX_PICKLE_BYTES }.into());
    }
    // The keys of storages are texts behind the pickle.
    let mut data = vec![0; (end - start) as usize];
    source.read_at(start, &mut data)?;
    let mut keys = HashMap::new();
    for id in storages.keys() {
        let from = data.len() as u32;
        data.extend(id.to_string().bytes());
        keys.insert(*id, PickleRange { start: from, end: data.len() as u32 });
    }
    let mut machine = PickleMachine::new(&data);
    for (id, storage, offset, shape, strides) in views {
        let (Some(of), Some(key)) = (storages.get(&storage), keys.get(&storage)) else {
            return Err(broken("a tensor has no storage"));
        };
        let index = machine.state.heap.storages.len() as u32;
        let reference = StorageRef { key: *key, dtype: Some(of.dtype), values: of.values, view: of.view };
        machine.state.heap.storages.push(reference);
        machine.state.numbered.insert(id, index);
        machine.state.heap.tensors.push(TensorView {
            storage: index,
            offset,
            shape,
            strides,
            dtype: of.dtype,
        });
    }
    let root = machine.run();
    machine.state.refuse()?;
    let root = root?;
    tensors::resolve(&machine.state, root, end - start, |key| {
        let storage = key.parse().ok().and_then(|id: i64| storages.get(&id));
        let len = |of: &TarStorage| of.values * of.dtype.size() as u64;
        Ok(storage.map(|of| StoragePlace { start: of.start, len: len(of), crc32: None }))
    })
}

/// Where the files of the archive are: start and end of each.
fn files(source: &ByteSource) -> Result<HashMap<String, (u64, u64)>, PickleFailure> {
    let (mut files, mut at) = (HashMap::new(), 0);
    let mut header = [0; BLOCK as usize];
    while at + BLOCK <= source.len && files.len() < MAX_FILES {
        source.read_at(at, &mut header)?;
        if header[0] == 0 {
            break;
        }
        let text = |range: std::ops::Range<usize>| {
            let field = header[range].split(|byte| *byte == 0).next().unwrap_or_default();
            std::str::from_utf8(field).unwrap_or_default().trim().to_owned()
        };
        let size = u64::from_str_radix(&text(124..136), 8).ok();
        let start = at + BLOCK;
        let end = size.and_then(|size| start.checked_add(size)).filter(|end| *end <= source.len);
        let end = end.ok_or_else(|| broken("its tar archive is damaged or cut short"))?;
        files.insert(text(0..100), (start, end));
        at = end.next_multiple_of(BLOCK);
    }
    Ok(files)
}

/// Reads a small pickle: the items of the tuple or list that it is, and where it ends. Numbers may be texts.
fn small(source: &ByteSource, at: u64, end: u64) -> Result<(Vec<Vec<SmallValue>>, u64), PickleFailure> {
    let mut data = vec![0; end.saturating_sub(at).min(MAX_SMALL) as usize];
    source.read_at(at, &mut data)?;
    let mut machine = PickleMachine::new(&data);
    let root = machine.run();
    machine.state.refuse()?;
    let root = root?;
    let value = |value: Value| match value {
        Value::Int(number) => SmallValue::Number(number),
        Value::Global(KnownGlobal::Storage(Some(dtype))) => SmallValue::Class(dtype),
        Value::Text(span) => {
            let text = std::str::from_utf8(&data[span.range()]).ok();
            text.and_then(|text| text.parse().ok()).map_or(SmallValue::Other, SmallValue::Number)
        }
        _ => SmallValue::Other,
    };
    let row = |items: &[Value]| items.iter().map(|item| value(*item)).collect::<Vec<_>>();
    let rows = match machine.state.heap.sequence(root) {
        Some(items) if items.iter().all(|item| machine.state.heap.sequence(*item).is_some()) => {
            items.iter().filter_map(|item| machine.state.heap.sequence(*item)).map(row).collect()
        }
        Some(items) => vec![row(items)],
        None => vec![vec![value(root)]],
    };
    Ok((rows, at + machine.state.at as u64))
}

/// What a small pickle has.
#[derive(Clone, Copy)]
enum SmallValue {
    Number(i64),
    Class(DType),
    Other,
}

/// How many pickles follow, and where.
fn count(source: &ByteSource, (at, end): (u64, u64)) -> Result<(usize, u64), PickleFailure> {
    let (rows, at) = small(source, at, end)?;
    match rows[..] {
        [ref row] => match row[..] {
            [SmallValue::Number(count)] if (0..=MAX_TENSORS as i64).contains(&count) => {
                Ok((count as usize, at))
            }
            _ => Err(broken("its tar archive has no number of tensors")),
        },
        _ => Err(broken("its tar archive has no number of tensors")),
    }
}

fn read_storages(source: &ByteSource, file: (u64, u64)) -> Result<HashMap<i64, TarStorage>, PickleFailure> {
    let damaged = || broken("its tar archive has a damaged storage");
    let (count, mut at) = count(source, file)?;
    let mut storages = HashMap::new();
    for _ in 0..count {
        let (rows, next) = small(source, at, file.1)?;
        let Some([SmallValue::Number(id), _, SmallValue::Class(dtype)]) = rows.first().map(Vec::as_slice)
        else {
            return Err(damaged());
        };
        let values = number(source, next, 8)?;
        let start = next + 8;
        let bytes = values.checked_mul(dtype.size() as u64).ok_or_else(damaged)?;
        at = start.checked_add(bytes).filter(|end| *end <= file.1).ok_or_else(damaged)?;
        storages.insert(*id, TarStorage { dtype: *dtype, values, start, view: None });
    }
    let (views, _) = small(source, at, file.1)?;
    for view in views {
        let [
            SmallValue::Number(id),
            SmallValue::Number(root),
            SmallValue::Number(offset),
            SmallValue::Number(len),
        ] = view[..]
        else {
            continue;
        };
        let root = *storages.get(&root).ok_or_else(damaged)?;
        storages.insert(id, TarStorage { view: Some((offset as u64, len as u64)), ..root });
    }
    Ok(storages)
}

/// Id, storage, offset, shape and strides of a tensor.
type TarTensor = (i64, i64, u64, Vec<usize>, Vec<usize>);

fn read_tensors(source: &ByteSource, file: (u64, u64)) -> Result<Vec<TarTensor>, PickleFailure> {
    let damaged = || broken("its tar archive has a damaged tensor");
    let (count, mut at) = count(source, file)?;
    let mut tensors = Vec::new();
    for _ in 0..count {
        let (rows, mut from) = small(source, at, file.1)?;
        let Some([SmallValue::Number(id), SmallValue::Number(storage), ..]) = rows.first().map(Vec::as_slice)
        else {
            return Err(damaged());
        };
        let rank = number(source, from, 4)? as usize;
        from += 8;
        if rank > MAX_RANK {
            return Err(damaged());
        }
        let mut numbers = Vec::new();
        for _ in 0..2 * rank + 1 {
            numbers.push(number(source, from, 8)?);
            from += 8;
        }
        let dims = |range: std::ops::Range<usize>| numbers[range].iter().map(|n| *n as usize).collect();
        let (shape, strides): (Vec<_>, Vec<_>) = (dims(0..rank), dims(rank..2 * rank));
        tensors.push((*id, *storage, numbers[2 * rank], shape, strides));
        at = from;
    }
    Ok(tensors)
}

/// A little-endian number.
fn number(source: &ByteSource, at: u64, len: usize) -> Result<u64, PickleFailure> {
    let mut bytes = [0; 8];
    if at + len as u64 > source.len {
        return Err(PickleProblem::Truncated.into());
    }
    source.read_at(at, &mut bytes[..len])?;
    Ok(u64::from_le_bytes(bytes))
}
