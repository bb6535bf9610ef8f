//! Files compared with the `safetensors` crate, the format's own library, as an independent judge.
//!
//! What it writes must open here with the same contents. What is accepted here it must accept with the same contents.
//! And what it accepts and this crate refuses must break one of the stricter rules that are documented here.

use crate::common::{self, file, ones, tensors};
use latent_loader::{
    Checkpoint, DType, HeaderProblem, LoadError, MAX_HEADER_BYTES, MAX_METADATA_ENTRIES, MAX_NAME_BYTES,
    MAX_RANK, MAX_TENSORS,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeMap, HashMap};
use std::panic::catch_unwind;

/// Name, number format, shape and bytes of every tensor, sorted by name; and the metadata.
type Contents = (Vec<(String, String, Vec<usize>, Vec<u8>)>, BTreeMap<String, String>);

/// What this crate reads of a file.
fn ours(bytes: &[u8]) -> Result<Contents, LoadError> {
    let checkpoint = Checkpoint::from_bytes("file", bytes.to_vec())?;
    let tensor = |info: &latent_loader::TensorInfo| {
        let raw = checkpoint.read(&info.name)?;
        assert_eq!((raw.dtype, &raw.shape, raw.data.len()), (info.dtype, &info.shape, info.bytes()));
        Ok((info.name.clone(), raw.dtype.header_name().to_owned(), raw.shape, raw.data.to_vec()))
    };
    let contents = checkpoint.tensors().map(tensor).collect::<Result<_, LoadError>>()?;
    Ok((contents, checkpoint.metadata().clone()))
}

/// What the judge reads of it; `None` if it refuses the file. Its check of the file's length adds unchecked, which
/// counts as a refusal too.
fn judge(bytes: &[u8]) -> Option<Contents> {
    let read = || {
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).ok()?;
        let file = safetensors::SafeTensors::deserialize(bytes).ok()?;
        let mut contents: Vec<_> = file
            .iter()
            .map(|(name, view)| {
                (name.to_owned(), view.dtype().to_string(), view.shape().to_vec(), view.data().to_vec())
            })
            .collect();
        contents.sort();
        Some((contents, metadata.metadata().clone().unwrap_or_default().into_iter().collect()))
    };
    catch_unwind(read).ok().flatten()
}

/// Whether a refusal is one that the judge does not share.
fn is_stricter(error: &LoadError) -> bool {
    match error {
        LoadError::HeaderTooLarge { .. } => true,
        LoadError::Header { problem, .. } => match problem {
            HeaderProblem::LeadingWhitespace
            | HeaderProblem::DuplicateName { .. }
            | HeaderProblem::UnknownField { .. }
            | HeaderProblem::NameTooLong { .. }
            | HeaderProblem::RankTooHigh { .. }
            | HeaderProblem::TooManyTensors
            | HeaderProblem::TooMuchMetadata => true,
            // `"__metadata__": null`, which the judge takes for none.
            HeaderProblem::MetadataNotText { key } => key == "__metadata__",
            // A tensor as a list of its fields' values, which the judge takes for a table.
            HeaderProblem::BadJson { message } => {
                message.starts_with("invalid type: sequence, expected a table")
            }
            _ => false,
        },
        _ => false,
    }
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    BothAccept,
    BothRefuse,
    OnlyTheJudgeAccepts,
}

/// Compares both readers on one file.
fn compare(bytes: &[u8]) -> Verdict {
    let show = || format!("{:?}", String::from_utf8_lossy(bytes));
    let ours = catch_unwind(|| ours(bytes)).unwrap_or_else(|_| panic!("a panic on {}", show()));
    match (ours, judge(bytes)) {
        (Ok(ours), Some(judged)) => {
            assert_eq!(ours, judged, "{}", show());
            Verdict::BothAccept
        }
        (Ok(_), None) => panic!("the judge refuses {}", show()),
        (Err(error), judged) => {
            common::line(&error);
            assert!(judged.is_none() || is_stricter(&error), "{error} but the judge accepts {}", show());
            if judged.is_some() { Verdict::OnlyTheJudgeAccepts } else { Verdict::BothRefuse }
        }
    }
}

// Valid files.

/// Random dtypes and shapes, with bytes that fill whole bytes.
fn tensor() -> impl Strategy<Value = (DType, Vec<usize>, Vec<u8>)> {
    let dtype = prop::sample::select(DType::in_headers().collect::<Vec<_>>());
    let shape = prop::collection::vec(0usize..5, 0..5);
    (dtype, shape).prop_flat_map(|(dtype, mut shape)| {
        let bits = |shape: &[usize]| shape.iter().product::<usize>() * dtype.bits();
        if bits(&shape) % 8 != 0 {
            shape.push(4);
        }
        let bytes = prop::collection::vec(any::<u8>(), bits(&shape) / 8);
        (Just(dtype), Just(shape), bytes)
    })
}

fn judge_dtype(dtype: DType) -> safetensors::Dtype {
    serde_json::from_value(dtype.header_name().into()).unwrap()
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z_.0-9]{0,40}", 1 => any::<String>()]
        .prop_filter("the name of the metadata", |name| name != "__metadata__")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x6c61_7465_6e74),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_the_judge_writes_is_read_unchanged(
        tensors in prop::collection::btree_map(names(), tensor(), 0..12),
        // Not empty: of no tensors and an empty table of metadata the judge writes a file that it does not read itself.
        metadata in prop::option::of(prop::collection::btree_map(any::<String>(), any::<String>(), 1..5)),
    ) {
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            let view = safetensors::tensor::TensorView::new(judge_dtype(*dtype), shape.clone(), bytes);
            (name, view.unwrap())
        });
        let info = metadata.clone().map(|metadata| metadata.into_iter().collect::<HashMap<_, _>>());
        let written = safetensors::serialize(views, info).unwrap();

        let (contents, read_metadata) = ours(&written).unwrap();
        let expected: Vec<_> = tensors
            .into_iter()
            .map(|(name, (dtype, shape, bytes))| (name, dtype.header_name().to_owned(), shape, bytes))
            .collect();
        prop_assert_eq!(contents, expected);
        prop_assert_eq!(read_metadata, metadata.unwrap_or_default());
        prop_assert_eq!(compare(&written), Verdict::BothAccept);
    }

    #[test]
    fn noise_behind_any_length_is_refused_by_both(
        length in 0u64..80,
        text in "[\\[\\]{}\":,0-9a-z ]{0,60}",
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        compare(&noise);
        compare(&[&length.to_le_bytes(), text.as_bytes(), &noise].concat());
        compare(&file(&format!("{{{text}}}"), &noise));
    }
}

#[test]
fn both_know_the_same_dtypes() {
    for dtype in DType::in_headers() {
        let judged = judge_dtype(dtype);
        assert_eq!((judged.to_string().as_str(), judged.bitsize()), (dtype.header_name(), dtype.bits()));
        let bytes = tensors(&[("a", dtype.header_name(), &[4], vec![7; dtype.bits() / 2])]);
        assert_eq!(compare(&bytes), Verdict::BothAccept);
    }
    for unknown in ["f32", "F8", "F128", "", "F32 "] {
        assert_eq!(compare(&tensors(&[("a", unknown, &[4], vec![0; 16])])), Verdict::BothRefuse, "{unknown}");
    }
}

// Damaged files.

/// A generator of random numbers that gives the same ones in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Pieces of headers, so that mutations also change the meaning of a file and not only break it.
const PIECES: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "\n",
    "0",
    "4",
    "-",
    "1e2",
    ".0",
    "18446744073709551615",
    "null",
    "F32",
    "F16",
    "U8",
    "\\u0061",
    "\"a\":",
    "\"__metadata__\":{},",
    "\"dtype\":\"F32\",",
    "\"shape\":[0],",
    "\"extra\":1,",
    "\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},",
];

/// Changes one place of a header.
fn mutate(header: &mut Vec<u8>, random: &mut Random) {
    let (at, other) = (random.below(header.len() + 1), random.below(header.len() + 1));
    let (start, end) = (at.min(other), at.max(other));
    let short_end = end.min(start + 12);
    match random.below(9) {
        0 if at < header.len() => header[at] ^= 1 << random.below(8),
        1 if at < header.len() => header[at] = *random.one_of(b"0123456789{}[]\",: \\abFU\xFF"),
        2 => drop(header.drain(start..short_end)),
        3 => drop(header.splice(at..at, random.next().to_le_bytes())),
        4 => {
            let copy = header[start..end].to_vec();
            header.splice(end..end, copy);
        }
        5 => header.truncate(at),
        6 => {
            let digits: Vec<_> = (0..header.len()).filter(|i| header[*i].is_ascii_digit()).collect();
            if !digits.is_empty() {
                header[*random.one_of(&digits)] = *random.one_of(b"0123456789");
            }
        }
        _ => {
            let piece = random.one_of(&PIECES).bytes();
            // Half of the time behind a brace or comma, where a piece makes sense.
            let places: Vec<_> = (1..header.len()).filter(|i| b"{,".contains(&header[i - 1])).collect();
            let at = if random.below(2) == 0 && !places.is_empty() { *random.one_of(&places) } else { at };
            header.splice(at..at, piece);
        }
    }
}

/// Valid files to begin with: headers and the bytes behind them.
fn seeds() -> Vec<(Vec<u8>, Vec<u8>)> {
    let metadata = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    let files = [
        ones(&["a"]),
        ones(&["net.0.weight", "net.0.bias", "b"]),
        tensors(&[
            ("a", "F16", &[2, 2], vec![1; 8]),
            ("b", "U8", &[8], vec![2; 8]),
            ("c", "F32", &[], vec![3; 4]),
            ("d", "F32", &[0, 3], Vec::new()),
        ]),
        tensors(&[("a", "F4", &[2, 2], vec![9; 2]), ("b", "F6_E2M3", &[4], vec![8; 3])]),
        file(metadata, &[5; 4]),
        file("{}", &[]),
    ];
    let split = |file: Vec<u8>| {
        let length = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
        (file[8..8 + length].to_vec(), file[8 + length..].to_vec())
    };
    files.into_iter().map(split).collect()
}

/// Compares both readers on so many files with a changed header; how often each verdict was met.
fn mutated_headers(count: usize, seed: u64) -> BTreeMap<Verdict, usize> {
    let (seeds, mut random) = (seeds(), Random(seed));
    let mut verdicts = BTreeMap::new();
    for _ in 0..count {
        let (mut header, mut data) = random.one_of(&seeds).clone();
        for _ in 0..*random.one_of(&[1, 1, 1, 2, 3]) {
            mutate(&mut header, &mut random);
        }
        match random.below(8) {
            0 => data.truncate(random.below(data.len() + 1)),
            1 => data.extend([0; 4]),
            _ => {}
        }
        let bytes = common::file_claiming(header.len() as u64, &header, &data);
        *verdicts.entry(compare(&bytes)).or_insert(0) += 1;
    }
    // The mutations are worth something only if each verdict is met many times.
    assert!(verdicts.len() == 3 && verdicts.values().all(|met| *met > count / 400), "{verdicts:?}");
    verdicts
}

/// Compares both readers on so many files that are changed anywhere, their length included.
fn mutated_files(count: usize, seed: u64) -> BTreeMap<Verdict, usize> {
    let (seeds, mut random) = (seeds(), Random(seed));
    let mut verdicts = BTreeMap::new();
    for _ in 0..count {
        let (header, data) = random.one_of(&seeds);
        let mut bytes = common::file_claiming(header.len() as u64, header, data);
        for _ in 0..=random.below(3) {
            mutate(&mut bytes, &mut random);
        }
        *verdicts.entry(compare(&bytes)).or_insert(0) += 1;
    }
    verdicts
}

#[test]
fn mutated_headers_are_judged_alike() {
    mutated_headers(40_000, 1);
}

#[test]
fn mutated_files_are_judged_alike() {
    mutated_files(10_000, 2);
}

/// The same at length; `docs/hardening.md` tells what came of it.
#[test]
#[ignore = "takes a minute, and wants a release build"]
fn a_million_mutated_files_are_judged_alike() {
    println!("headers: {:?}", mutated_headers(800_000, 3));
    println!("files: {:?}", mutated_files(200_000, 4));
}

#[test]
fn every_single_bit_that_flips_is_judged_alike() {
    for (header, data) in seeds() {
        let mut bytes = common::file_claiming(header.len() as u64, &header, &data);
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            compare(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_cut_and_every_byte_put_in_is_judged_alike() {
    for (header, data) in seeds() {
        let bytes = common::file_claiming(header.len() as u64, &header, &data);
        assert_eq!(compare(&bytes), Verdict::BothAccept);
        for at in 0..bytes.len() {
            assert_eq!(compare(&bytes[..at]), Verdict::BothRefuse);
            for byte in [0, b' ', b'0', b'"', b'{', b'}', b',', 0xFF] {
                let (before, after) = bytes.split_at(at);
                assert_eq!(compare(&[before, &[byte], after].concat()), Verdict::BothRefuse);
            }
        }
        assert_eq!(compare(&[&bytes[..], &[0]].concat()), Verdict::BothRefuse);
    }
}

// The rules that are stricter than the judge's: one file each which it accepts.

#[test]
fn each_stricter_rule_refuses_a_file_that_the_judge_accepts() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let list = |count: usize, entry: &str| {
        (0..count).map(|i| format!("\"{i}\":{entry}")).collect::<Vec<_>>().join(",")
    };
    let empty = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let (too_many, too_much) = (list(MAX_TENSORS + 1, empty), list(MAX_METADATA_ENTRIES + 1, "\"\""));
    let (long_name, long_shape) = ("n".repeat(MAX_NAME_BYTES + 1), vec![1; MAX_RANK + 1]);
    let padding = " ".repeat(MAX_HEADER_BYTES as usize);
    for (rule, header, data) in [
        ("white space first", format!(r#" {{"a":{entry}}}"#), 4),
        ("two names", format!(r#"{{"a":{entry},"a":{entry}}}"#), 4),
        (
            "two names, one with a hole before it",
            format!(r#"{{"a":{},"a":{entry}}}"#, entry.replace("0,4", "8,12")),
            4,
        ),
        ("two names in the metadata", r#"{"__metadata__":{"k":"1","k":"2"}}"#.to_owned(), 0),
        ("unknown field", format!(r#"{{"a":{}}}"#, entry.replace('{', r#"{"extra":[1],"#)), 4),
        ("long name", format!(r#"{{"{long_name}":{entry}}}"#), 4),
        ("high rank", format!(r#"{{"a":{}}}"#, entry.replace("[1]", &format!("{long_shape:?}"))), 4),
        ("many tensors", format!("{{{too_many}}}"), 0),
        ("much metadata", format!(r#"{{"__metadata__":{{{too_much}}}}}"#), 0),
        ("no metadata", r#"{"__metadata__":null}"#.to_owned(), 0),
        ("a list for a table", r#"{"a":["F32",[1],[0,4]]}"#.to_owned(), 4),
        ("a long header", format!(r#"{{"a":{entry}}}{padding}"#), 4),
    ] {
        assert_eq!(compare(&file(&header, &vec![0; data])), Verdict::OnlyTheJudgeAccepts, "{rule}");
    }
}
