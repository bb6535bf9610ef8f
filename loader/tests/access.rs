//! Tensors that are read, mapped, or lie in memory: the same values and errors, and no copy where none is promised.

use crate::common::{Folder, f32s, line, ones, tensors};
use latent_loader::{Access, Bytes, Checkpoint, LoadError, RawTensor, ReadRange, Weights};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

const BOTH: [Access; 2] = [Access::Read, Access::Map];

/// Tensors of odd lengths, so that those behind them lie at odd addresses.
fn file() -> Vec<u8> {
    tensors(&[
        ("odd", "U8", &[3], vec![1, 2, 3]),
        ("empty", "F16", &[0, 4], Vec::new()),
        ("net.weight", "F32", &[2, 2], f32s(&[1.0, -2.0, 3.5, 0.0])),
        ("last", "BF16", &[1], vec![0x80, 0x3F]),
    ])
}

/// Every tensor of a checkpoint by its name.
fn all(checkpoint: &Checkpoint) -> Vec<(String, RawTensor)> {
    checkpoint.tensors().map(|info| (info.name.clone(), checkpoint.read(&info.name).unwrap())).collect()
}

fn open(path: &Path, access: Access) -> Checkpoint {
    let checkpoint = Checkpoint::open_with(path, access).unwrap();
    assert_eq!(checkpoint.access(), access);
    checkpoint
}

/// Whether bytes lie within others.
fn is_part(part: &Bytes, whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[test]
fn a_mapped_file_holds_the_same_tensors() {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", file());
    let read = all(&open(&path, Access::Read));
    assert_eq!(read.len(), 4);
    assert_eq!(all(&open(&path, Access::Map)), read);
    assert_eq!(all(&Checkpoint::from_bytes("embedded", file()).unwrap()), read);
}

/// Bytes by ranges, and which were asked for.
struct Ranges {
    bytes: Vec<u8>,
    asked: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl ReadRange for Ranges {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.asked.lock().unwrap().push((offset, buffer.len()));
        let bytes = self.bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[test]
fn ranges_hold_the_same_tensors_and_are_asked_for_no_more_than_is_needed() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let ranges = Ranges { bytes: file(), asked: Arc::clone(&asked) };
    let checkpoint = Checkpoint::from_ranges("ranges", file().len() as u64, ranges).unwrap();
    let header = std::mem::take(&mut *asked.lock().unwrap());
    assert!(header.iter().all(|(offset, len)| offset + *len as u64 <= file().len() as u64));
    checkpoint.read("net.weight").unwrap();
    // Before the two bytes of the last tensor.
    assert_eq!(*asked.lock().unwrap(), [(file().len() as u64 - 18, 16)]);
    assert_eq!(all(&checkpoint), all(&Checkpoint::from_bytes("embedded", file()).unwrap()));
}

#[test]
fn ranges_that_end_early_are_an_error() {
    let whole = file();
    for len in 0..whole.len() {
        let ranges = Ranges { bytes: whole[..len].to_vec(), asked: Arc::default() };
        match Checkpoint::from_ranges("short", whole.len() as u64, ranges) {
            Err(error) => assert!(line(&error).starts_with("short: "), "{error}"),
            Ok(checkpoint) => {
                let error = checkpoint.read("last").unwrap_err();
                assert!(matches!(error, LoadError::Shrunk { .. }), "{error}");
            }
        }
    }
}

#[test]
fn a_mapped_folder_holds_the_same_tensors() {
    let folder = Folder::new();
    folder.write("unet/config.json", r#"{"sample_size": 64}"#);
    folder.write("unet/diffusion_pytorch_model.safetensors", file());
    folder.write("vae/config.json", "{}");
    folder.write("vae/diffusion_pytorch_model.safetensors", ones(&["decoder.conv_in.weight"]));
    let [read, mapped] = BOTH.map(|access| open(&folder.path(""), access));
    assert_eq!(all(&read).len(), 5);
    assert_eq!(all(&mapped), all(&read));
    assert_eq!(mapped.config("unet"), read.config("unet"));
}

#[test]
fn a_file_is_read_unless_mapping_is_asked_for() {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", file());
    assert_eq!(Checkpoint::open(&path).unwrap().access(), Access::Read);
    assert_eq!(Access::default(), Access::Read);
}

#[test]
fn a_mapped_tensor_is_not_copied_and_outlives_its_checkpoint() {
    let folder = Folder::new();
    let checkpoint = open(&folder.write("model.safetensors", file()), Access::Map);
    let (first, again) = (checkpoint.read("net.weight").unwrap(), checkpoint.read("net.weight").unwrap());
    assert_eq!(first.data.as_ptr(), again.data.as_ptr());
    drop((checkpoint, again));
    assert_eq!(first.to_f32().unwrap(), [1.0, -2.0, 3.5, 0.0]);
}

#[test]
fn an_embedded_checkpoint_is_not_copied() {
    let bytes: &'static [u8] = Box::leak(file().into_boxed_slice());
    let checkpoint = Checkpoint::from_bytes("embedded", bytes).unwrap();
    let tensors = all(&checkpoint);
    assert!(tensors.iter().all(|(_, tensor)| is_part(&tensor.data, bytes)));
    assert_eq!(tensors.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>(), 3 + 16 + 2);
}

#[test]
fn the_beginning_of_a_file_shows_its_tensors_and_reads_none() {
    let bytes = file();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let of = |head: usize, length: usize| Checkpoint::of_header("far", bytes[..head].to_vec(), length as u64);
    let checkpoint = of(header, bytes.len()).unwrap();
    let whole = Checkpoint::from_bytes("whole", bytes.clone()).unwrap();
    let listed = |checkpoint: &Checkpoint| format!("{:?}", checkpoint.tensors().collect::<Vec<_>>());
    assert_eq!(listed(&checkpoint), listed(&whole));
    assert_eq!(checkpoint.file_bytes(), bytes.len() as u64);
    let error = checkpoint.read("net.weight").unwrap_err();
    assert!(error.to_string().contains("far"), "{error}");
    assert!(of(header - 1, bytes.len()).is_err() && of(0, bytes.len()).is_err());
    assert!(matches!(of(header, header).unwrap_err(), LoadError::Truncated { .. }));
}

#[test]
fn tensors_of_a_checkpoint_in_memory_share_it() {
    let bytes = file();
    let place = bytes.as_ptr_range();
    let checkpoint = Checkpoint::from_bytes("in memory", bytes).unwrap();
    let tensor = checkpoint.read("net.weight").unwrap();
    drop(checkpoint);
    assert!(place.contains(&tensor.data.as_ptr()));
    assert_eq!(tensor.to_f32().unwrap(), [1.0, -2.0, 3.5, 0.0]);
}

#[test]
fn a_weight_that_is_not_a_number_is_named_in_the_same_words() {
    let folder = Folder::new();
    let values = f32s(&[0.0, 1.0, f32::NAN, f32::INFINITY]);
    let path = folder
        .write("model.safetensors", tensors(&[("odd", "U8", &[1], vec![7]), ("w", "F32", &[4], values)]));
    for access in BOTH {
        let error = Weights::new(Arc::new(open(&path, access))).get("w", &[4]).unwrap_err();
        let text =
            format!("{}: tensor \"w\" is NaN or infinite at index 2; the file is damaged", path.display());
        assert!(line(&error).starts_with(&text), "{access:?}: {error}");
    }
}

/// Every other task on a thread of its own, the rest from the last to the first.
fn on_two_threads(count: usize, task: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| {
        scope.spawn(|| (0..count).step_by(2).for_each(task));
        (0..count).rev().filter(|i| i % 2 == 1).for_each(task);
    });
}

/// Millions of values: several pieces, the last one shorter.
const LONG: [usize; 2] = [1537, 1000];

/// A file of one long weight, whose bytes lie at an odd place, with numbers that are none at some of its places.
fn long_file(folder: &Folder, bad: &[usize]) -> std::path::PathBuf {
    let mut values: Vec<f32> = (0..LONG[0] * LONG[1]).map(|i| i as f32).collect();
    bad.iter().for_each(|i| values[*i] = f32::NAN);
    folder.write("long", tensors(&[("head", "U8", &[3], vec![9; 3]), ("long", "F32", &LONG, f32s(&values))]))
}

#[test]
fn a_long_weight_is_the_same_on_several_threads() {
    let folder = Folder::new();
    let path = long_file(&folder, &[]);
    for access in BOTH {
        let weights = Weights::new(Arc::new(open(&path, access)));
        let serial = weights.get("long", &LONG).unwrap();
        assert!(
            serial.to_f32().unwrap().iter().enumerate().all(|(i, value)| *value == i as f32),
            "{access:?}"
        );
        assert_eq!(weights.read_on(on_two_threads).get("long", &LONG).unwrap(), serial, "{access:?}");
    }
}

#[test]
fn several_threads_find_the_first_value_that_is_no_number() {
    let folder = Folder::new();
    for (bad, first) in
        [(&[1_300_000, 400_001][..], 400_001), (&[0, 1_536_999], 0), (&[1_536_999], 1_536_999)]
    {
        let path = long_file(&folder, bad);
        for access in BOTH {
            let weights = Weights::new(Arc::new(open(&path, access)));
            let serial = weights.get("long", &LONG).unwrap_err();
            assert!(matches!(serial, LoadError::NonFinite { index, .. } if index == first), "{serial:?}");
            let error = weights.read_on(on_two_threads).get("long", &LONG).unwrap_err();
            assert_eq!(error.to_string(), serial.to_string(), "{access:?}");
        }
    }
}

/// The system refuses to cut a mapped file on Windows.
#[cfg(unix)]
#[test]
fn a_mapped_file_that_is_shorter_when_a_tensor_is_asked_for_is_an_error() {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", ones(&["first", "last"]));
    let checkpoint = open(&path, Access::Map);
    let handle = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    handle.set_len(checkpoint.file_bytes() - 1).unwrap();
    assert_eq!(checkpoint.read("first").unwrap().to_f32().unwrap(), [1.0]);
    let error = checkpoint.read("last").unwrap_err();
    assert!(matches!(&error, LoadError::Shrunk { tensor, .. } if tensor == "last"), "{error:?}");
}

#[test]
fn a_long_weight_of_a_file_that_is_shorter_is_an_error_on_several_threads() {
    let folder = Folder::new();
    let path = long_file(&folder, &[5]);
    let checkpoint = open(&path, Access::Read);
    let handle = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    handle.set_len(checkpoint.file_bytes() - 1).unwrap();
    let weights = Weights::new(Arc::new(checkpoint));
    for weights in [weights.clone(), weights.read_on(on_two_threads)] {
        let error = weights.get("long", &LONG).unwrap_err();
        assert!(matches!(&error, LoadError::Shrunk { tensor, .. } if tensor == "long"), "{error:?}");
    }
}
