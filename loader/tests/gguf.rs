//! GGUF files, good and bad.

use crate::common::{Folder, line, refused_for};
use latent_loader::{Access, Checkpoint, DType, GgufProblem, HeaderProblem, LoadError, NewTensor, Writer};
use std::collections::BTreeMap;

/// The parts of a file. Nothing is checked.
#[derive(Clone)]
struct Gguf {
    version: u32,
    tensors: u64,
    entries: u64,
    /// Metadata and tensors, one after the other.
    body: Vec<u8>,
    alignment: usize,
    values: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Gguf {
    fn new() -> Gguf {
        Gguf { version: 3, tensors: 0, entries: 0, body: Vec::new(), alignment: 32, values: Vec::new() }
    }

    /// With an entry: its type and its bytes. Entries come before tensors.
    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Gguf {
        self.entries += 1;
        self.body.extend([text(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat());
        self
    }

    fn list(self, key: &str, kind: u32, len: u64, values: &[u8]) -> Gguf {
        let value = [&kind.to_le_bytes()[..], &len.to_le_bytes(), values].concat();
        self.entry(key, 9, &value)
    }

    /// With a tensor: its dimensions, innermost first, its type and its offset.
    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Gguf {
        self.tensors += 1;
        let dims: Vec<u8> = (dims.len() as u32)
            .to_le_bytes()
            .into_iter()
            .chain(dims.iter().flat_map(|dim| dim.to_le_bytes()))
            .collect();
        self.body
            .extend([text(name), dims, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat());
        self
    }

    fn values(mut self, values: &[u8]) -> Gguf {
        self.values = values.to_vec();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensors.to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(&self.body);
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.values);
        out
    }

    fn open(&self) -> Checkpoint {
        Checkpoint::from_bytes("memory", self.bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why it is refused, whether it is read or mapped.
    #[track_caller]
    fn problem(&self) -> (HeaderProblem, String) {
        let folder = Folder::new();
        let path = folder.write("a.gguf", self.bytes());
        let (error, line) = refused_for(&path, &path);
        match error {
            LoadError::Header { problem, .. } => (problem, line),
            error => panic!("{error:?}"),
        }
    }
}

const F32: u32 = 0;
const F16: u32 = 1;
const Q8_0: u32 = 8;

fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// One value of 1 in `a`.
fn one() -> Gguf {
    Gguf::new().tensor("a", &[1], F32, 0).values(&singles(&[1.0]))
}

#[test]
fn tensors_are_read_with_their_dimensions_turned_around() {
    for version in [2, 3] {
        let block = [&[0x00, 0x38][..], &[3; 32]].concat();
        let values = [&singles(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[..], &[0; 8], &block].concat();
        let file = Gguf { version, ..Gguf::new() };
        let file = file.tensor("b", &[3, 2], F32, 0).tensor("a", &[32, 1], Q8_0, 32).values(&values);
        let folder = Folder::new();
        let path = folder.write("a.gguf", file.bytes());
        for access in [Access::Read, Access::Map] {
            let checkpoint = Checkpoint::open_with(&path, access).unwrap();
            let b = checkpoint.read("b").unwrap();
            assert_eq!((b.dtype, &b.shape[..]), (DType::F32, &[2, 3][..]));
            assert_eq!(b.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            let a = checkpoint.read("a").unwrap();
            assert_eq!((a.dtype, &a.shape[..]), (DType::Q8_0, &[1, 32][..]));
            assert_eq!(a.to_f32().unwrap(), [1.5; 32]);
            assert_eq!(checkpoint.file_bytes(), file.bytes().len() as u64);
        }
    }
}

#[test]
fn every_type_of_metadata_is_read() {
    let file = one();
    let mut metadata = Gguf::new()
        .entry("u8", 0, &[200])
        .entry("i8", 1, &[0xFF])
        .entry("u16", 2, &[0, 1])
        .entry("i16", 3, &[0, 0x80])
        .entry("u32", 4, &u32::MAX.to_le_bytes())
        .entry("i32", 5, &(-7i32).to_le_bytes())
        .entry("f32", 6, &1.5f32.to_le_bytes())
        .entry("bool", 7, &[1])
        .entry("text", 8, &text("a \"quoted\"\nline"))
        .entry("u64", 10, &u64::MAX.to_le_bytes())
        .entry("i64", 11, &i64::MIN.to_le_bytes())
        .entry("f64", 12, &0.25f64.to_le_bytes())
        .list("shape", 5, 2, &[1, 0, 0, 0, 2, 0, 0, 0])
        .list("words", 8, 2, &[text("a"), text("bc")].concat())
        .list("empty", 6, 0, &[]);
    metadata.body.extend(&file.body);
    let file = Gguf { body: metadata.body, entries: metadata.entries, ..file };
    let checkpoint = file.open();
    let of = |key: &str| checkpoint.metadata()[key].as_str();
    for (key, value) in [
        ("u8", "200"),
        ("i8", "-1"),
        ("u16", "256"),
        ("i16", "-32768"),
        ("u32", "4294967295"),
        ("i32", "-7"),
        ("f32", "1.5"),
        ("bool", "true"),
        ("text", "a \"quoted\"\nline"),
        ("u64", "18446744073709551615"),
        ("i64", "-9223372036854775808"),
        ("f64", "0.25"),
        ("shape", "[1, 2]"),
        ("words", "a list of 2 values"),
        ("empty", "a list of 0 values"),
    ] {
        assert_eq!(of(key), value, "{key}");
    }
}

#[test]
fn comfy_shapes_are_those_of_the_tensors() {
    let key = "comfy.gguf.orig_shape.conv.weight";
    let shape: Vec<u8> = [4i32, 4, 2, 2].iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let block = [&[0x00, 0x38][..], &[2; 32]].concat();
    let values = [&block[..], &block].concat();
    let file = Gguf::new().list(key, 5, 4, &shape).tensor("conv.weight", &[32, 2], Q8_0, 0).values(&values);
    let checkpoint = file.open();
    assert_eq!(checkpoint.get("conv.weight").unwrap().shape, [4, 4, 2, 2]);
    assert_eq!(checkpoint.read("conv.weight").unwrap().to_f32().unwrap(), [1.0; 64]);
    assert!(checkpoint.metadata().is_empty(), "the tensors have their shapes");
    for (kind, len, bad) in [(5, 3, &shape[..12]), (5, 4, &[0xFF; 16][..]), (6, 4, &shape[..])] {
        let file =
            Gguf::new().list(key, kind, len, bad).tensor("conv.weight", &[32, 2], Q8_0, 0).values(&values);
        let (problem, line) = file.problem();
        assert!(matches!(problem, HeaderProblem::Gguf(GgufProblem::BadShape { .. })), "{problem:?}");
        assert!(line.contains("\"conv.weight\" the original shape"), "{line}");
    }
}

#[test]
fn alignments_are_powers_of_two() {
    let aligned = |value: u32| Gguf::new().entry("general.alignment", 4, &value.to_le_bytes());
    let values = [&singles(&[1.0])[..], &[0; 4], &singles(&[2.0])].concat();
    let file = aligned(8).tensor("a", &[1], F32, 0).tensor("b", &[1], F32, 8).values(&values);
    let checkpoint = Gguf { alignment: 8, ..file }.open();
    assert_eq!(checkpoint.read("b").unwrap().to_f32().unwrap(), [2.0]);
    for bad in [0, 3, 48, u32::MAX] {
        let (problem, line) = aligned(bad).tensor("a", &[1], F32, 0).values(&[0; 4]).problem();
        assert!(matches!(problem, HeaderProblem::Gguf(GgufProblem::BadAlignment { .. })));
        assert!(line.contains("not a power of two"), "{line}");
    }
    let text = Gguf::new().entry("general.alignment", 8, &text("32"));
    assert!(matches!(text.problem().0, HeaderProblem::Gguf(GgufProblem::BadAlignment { .. })));
}

#[test]
fn versions_and_byte_orders_are_named() {
    for (version, says) in [(0u32, "version 0 of"), (1, "version 1 of"), (4, "version 4 of")] {
        let (_, line) = Gguf { version, ..one() }.problem();
        assert!(line.contains(says) && line.contains("version 3"), "{line}");
    }
    let (problem, line) = Gguf { version: 3u32.swap_bytes(), ..one() }.problem();
    assert_eq!(problem, HeaderProblem::Gguf(GgufProblem::BigEndian));
    assert!(line.contains("big-endian"), "{line}");
}

#[test]
fn types_that_are_not_read_are_named() {
    for (kind, says) in
        [(16, "IQ2_XXS, which is not read; get the model in another type"), (4711, "the type 4711")]
    {
        let (problem, line) = Gguf::new().tensor("a", &[256], kind, 0).values(&[0; 66]).problem();
        assert!(matches!(problem, HeaderProblem::Gguf(GgufProblem::UnknownType { .. })));
        assert!(line.contains(says), "{line}");
    }
}

#[test]
fn lying_counts_and_lengths_are_refused() {
    let (problem, _) = Gguf { tensors: u64::MAX, ..one() }.problem();
    assert_eq!(problem, HeaderProblem::TooManyTensors);
    let (problem, _) = Gguf { entries: 1 << 40, ..one() }.problem();
    assert_eq!(problem, HeaderProblem::TooMuchMetadata);
    // A name, a text and a list that would take all memory.
    let long = |at: &str| {
        let mut file = one();
        file.entries = 1;
        let huge = (1u64 << 60).to_le_bytes();
        file.body = match at {
            "name" => huge.to_vec(),
            "text" => [&text("k")[..], &8u32.to_le_bytes(), &huge].concat(),
            _ => [&text("k")[..], &9u32.to_le_bytes(), &0u32.to_le_bytes(), &huge].concat(),
        };
        file.problem().0
    };
    assert!(
        matches!(long("name"), HeaderProblem::Gguf(GgufProblem::NameTooLong { len, .. }) if len == 1 << 60)
    );
    assert!(
        matches!(long("text"), HeaderProblem::Gguf(GgufProblem::TextTooLong { len, .. }) if len == 1 << 60)
    );
    assert!(
        matches!(long("list"), HeaderProblem::Gguf(GgufProblem::ListTooLong { len, .. }) if len == 1 << 60)
    );
    let nested = Gguf::new().list("k", 9, 1, &[0; 12]);
    assert!(matches!(nested.problem().0, HeaderProblem::Gguf(GgufProblem::BadValueType { kind: 9, .. })));
    let unknown = Gguf::new().entry("k", 13, &[0; 8]);
    assert!(matches!(unknown.problem().0, HeaderProblem::Gguf(GgufProblem::BadValueType { kind: 13, .. })));
    let truth = Gguf::new().entry("k", 7, &[2]);
    assert!(matches!(truth.problem().0, HeaderProblem::Gguf(GgufProblem::BadBool { value: 2, .. })));
    let bad_utf8 = Gguf::new().entry("k", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xFF]);
    assert!(matches!(bad_utf8.problem().0, HeaderProblem::BadUtf8 { .. }));
}

#[test]
fn names_are_unique() {
    let twice = Gguf::new().tensor("a", &[8], F32, 0).tensor("a", &[8], F32, 32).values(&[0; 64]);
    assert!(matches!(twice.problem().0, HeaderProblem::DuplicateName { name } if name == "a"));
    let twice = Gguf::new().entry("k", 0, &[0]).entry("k", 0, &[0]);
    assert!(matches!(twice.problem().0, HeaderProblem::DuplicateName { name } if name == "k"));
}

#[test]
fn shapes_fit_their_types_and_a_file() {
    let rank = Gguf::new().tensor("a", &[1; 9], F32, 0).values(&[0; 4]);
    assert!(matches!(rank.problem().0, HeaderProblem::RankTooHigh { .. }));
    for dims in [&[u64::MAX, 2][..], &[1 << 32, 1 << 32], &[u64::MAX / 4]] {
        let huge = Gguf::new().tensor("a", dims, F32, 0).values(&[0; 4]);
        assert!(matches!(huge.problem().0, HeaderProblem::Overflow { .. }), "{dims:?}");
    }
    let end = Gguf::new().tensor("a", &[8], F32, u64::MAX - 31);
    assert!(matches!(end.problem().0, HeaderProblem::Overflow { .. } | HeaderProblem::Hole { .. }));
    let (problem, line) = Gguf::new().tensor("a", &[16, 2], Q8_0, 0).values(&[0; 34]).problem();
    assert!(matches!(problem, HeaderProblem::Gguf(GgufProblem::PartOfBlock { .. })));
    assert!(line.contains("[2, 16], whose rows are not whole blocks of 32 values of q8_0"), "{line}");
}

#[test]
fn tensors_lie_one_after_the_other() {
    let two = |offset| Gguf::new().tensor("a", &[8], F32, 0).tensor("b", &[8], F32, offset).values(&[0; 256]);
    assert!(matches!(two(0).problem().0, HeaderProblem::Overlap { .. }));
    assert!(matches!(two(64).problem().0, HeaderProblem::Hole { bytes: 32, .. }));
    let (problem, _) = two(33).problem();
    assert!(matches!(problem, HeaderProblem::Gguf(GgufProblem::Misaligned { offset: 33, .. })));
    let first = Gguf::new().tensor("a", &[8], F32, 32).values(&[0; 64]);
    assert!(matches!(first.problem().0, HeaderProblem::Hole { bytes: 32, .. }));
}

/// At every length that is too short, and with more behind the end than padding.
#[test]
fn files_that_are_cut_short_or_go_on_are_refused() {
    let whole = Gguf::new().entry("k", 8, &text("value")).tensor("a", &[3], F16, 0).values(&[0; 6]).bytes();
    let folder = Folder::new();
    for len in 4..whole.len() {
        let path = folder.write("short.gguf", &whole[..len]);
        let error = Checkpoint::open(&path).map(|_| ()).unwrap_err();
        let line = line(&error);
        let is_short = matches!(error, LoadError::HeaderPastEnd { .. } | LoadError::Truncated { .. });
        assert!(is_short && line.contains("download it again"), "{len}: {line}");
    }
    for (more, is_good) in [(0, true), (26, true), (27, false), (64, false)] {
        let path = folder.write("long.gguf", [&whole[..], &vec![0; more]].concat());
        let opened = Checkpoint::open(&path);
        assert_eq!(opened.is_ok(), is_good, "{more}");
        assert!(opened.err().is_none_or(|error| matches!(error, LoadError::TrailingBytes { .. })));
    }
}

/// A header that takes several readings.
#[test]
fn a_long_header_is_read_whole() {
    let words: Vec<u8> = (0..40_000).flat_map(|i| text(&format!("word{i}"))).collect();
    let file = Gguf::new().list("tokenizer.ggml.tokens", 8, 40_000, &words);
    let file = file.tensor("a", &[1], F32, 0).values(&singles(&[1.0]));
    let folder = Folder::new();
    let path = folder.write("a.gguf", file.bytes());
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.read("a").unwrap().to_f32().unwrap(), [1.0]);
    assert_eq!(checkpoint.metadata()["tokenizer.ggml.tokens"], "a list of 40000 values");
    let endless = Gguf::new().list("k", 0, 16 << 20, &vec![0; 17 << 20]);
    let path = folder.write("b.gguf", endless.bytes());
    let (error, _) = refused_for(&path, &path);
    assert!(matches!(error, LoadError::HeaderTooLarge { .. }), "{error:?}");
}

#[test]
fn nan_is_found_in_the_scales_of_every_block_format() {
    for dtype in DType::all().filter(|dtype| dtype.is_block_format()) {
        let shape = vec![2, 256];
        let bytes = dtype.bytes(512);
        let tensors = [NewTensor { name: "a".to_owned(), dtype, shape: shape.clone() }];
        let file = |values: &[u8]| {
            let mut writer = Writer::begin_gguf(Vec::new(), &BTreeMap::new(), &tensors).unwrap();
            writer.write(values).unwrap();
            std::sync::Arc::new(Checkpoint::from_bytes("memory", writer.end().unwrap()).unwrap())
        };
        let read = |values: &[u8]| latent_loader::Weights::new(file(values)).get("a", &shape);
        assert!(read(&vec![0; bytes]).is_ok());
        let error = read(&vec![0xFF; bytes]).unwrap_err();
        assert!(matches!(error, LoadError::NonFinite { index: 0, .. }), "{dtype}: {error:?}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let tensor = |name: &str, dtype, shape: &[usize]| NewTensor {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    };
    let tensors = [
        tensor("bias", DType::F32, &[3]),
        tensor("conv", DType::Q4_0, &[2, 32, 3, 3]),
        tensor("half", DType::F16, &[2, 3, 1, 1]),
        tensor("k", DType::Q4_K, &[1, 256]),
    ];
    let metadata = BTreeMap::from([("modelspec.title".to_owned(), "a title".to_owned())]);
    let mut writer = Writer::begin_gguf(Vec::new(), &metadata, &tensors).unwrap();
    let values: Vec<Vec<u8>> =
        tensors.iter().map(|t| (0..t.bytes()).map(|i| (i % 113) as u8).collect()).collect();
    // In pieces that end anywhere.
    for piece in values.concat().chunks(37) {
        writer.write(piece).unwrap();
    }
    let checkpoint = Checkpoint::from_bytes("memory", writer.end().unwrap()).unwrap();
    assert_eq!(checkpoint.metadata(), &metadata);
    for (tensor, values) in tensors.iter().zip(&values) {
        let raw = checkpoint.read(&tensor.name).unwrap();
        assert_eq!((raw.dtype, &raw.shape, &*raw.data), (tensor.dtype, &tensor.shape, &values[..]));
    }
    for (dtype, shape) in [(DType::U8, &[2][..]), (DType::Q8_0, &[2, 16]), (DType::F32, &[1; 5])] {
        let error = Writer::begin_gguf(Vec::new(), &metadata, &[tensor("a", dtype, shape)]).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
