//! Pickles that mean harm. Each is refused by name or as damaged, within the limits, and nothing of it is run.

use super::writer::{Pickle, legacy, one_tensor, torch_zip, zip};
use crate::common;
use latent_loader::{Checkpoint, LoadError, PickleProblem};

/// Functions and classes that run something, or lead to something that does.
const EVIL: [(&str, &str); 24] = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("importlib", "import_module"),
    ("runpy", "_run_code"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("webbrowser", "open"),
    ("socket", "socket"),
    ("pty", "spawn"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.utils.cpp_extension", "load_inline"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("numpy.testing._private.utils", "runstring"),
    ("collections", "OrderedDict.__init__"),
];

fn refused(bytes: Vec<u8>) -> PickleProblem {
    let error = Checkpoint::from_bytes("hostile", bytes).map(|_| ()).expect_err("this must be refused");
    let line = common::line(&error);
    assert!(error.is_bad_input() && line.starts_with("hostile: is a PyTorch pickle that "), "{line}");
    match error {
        LoadError::Pickle { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

/// The ways in which a pickle can use a name.
fn uses(module: &str, name: &str) -> Vec<Vec<u8>> {
    let four = || Pickle::new(4);
    let class = |pickle: Pickle| pickle.stack_global(module, name);
    vec![
        // Only named, called, made, made with named arguments, given a state.
        Pickle::new(2).global(module, name).end(),
        Pickle::new(2).global(module, name).op(b"(").text("touch hacked").op(b"tR").end(),
        class(four()).op(b"(").text("touch hacked").op(b"tR").end(),
        class(four()).op(b")\x81").end(),
        class(four()).op(b")}\x92").end(),
        class(four()).op(b")\x81}").text("a").text("b").op(b"sb").end(),
        // By the opcodes of the first protocols.
        four().op(b"(").text("touch hacked").op(b"i").op(format!("{module}\n{name}\n").as_bytes()).end(),
        class(four().op(b"(")).text("touch hacked").op(b"o").end(),
        // Hidden below a tensor: as a value, as a key, as what undoes it, in the memo, and past an error.
        class(four().op(b"}").text("a").tensor("FloatStorage", ("0", 1), 0, &[1], &[1]).op(b"s").text("b"))
            .op(b")Rs")
            .end(),
        class(four().op(b"}")).op(b")R").text("a").op(b"s").end(),
        class(four().global("torch._utils", "_rebuild_tensor_v2").op(b"(")).op(b")RK\x00))\x89NtR").end(),
        class(four()).op(b"q\x07").text("x").op(b"h\x07)R0").end(),
        class(four()).op(b")R.\xff").end(),
        // Of the protocol that hides it in a frame, and without a protocol.
        class(Pickle::new(5).op(b"\x95\x40\0\0\0\0\0\0\0")).op(b")R").end(),
        Pickle::default().global(module, name).op(b"(").text("touch hacked").op(b"tR").end(),
    ]
}

#[test]
fn every_use_of_every_evil_name_is_refused_by_name() {
    let mut count = 0;
    for (module, name) in EVIL {
        for pickle in uses(module, name) {
            let name = format!("{module}.{name}");
            let mut files = vec![torch_zip(&pickle, &[("0", &[0; 4])])];
            if pickle.starts_with(b"\x80") {
                files.push(legacy(&pickle, &[("0", 1, &[0; 4])]));
                files.push(pickle.clone());
            }
            for file in files {
                match refused(file) {
                    PickleProblem::Refused { globals, total } => {
                        assert_eq!((globals.len(), total), (1, 1), "{globals:?}");
                        assert_eq!(globals[0].name, name);
                        assert!(globals[0].at <= pickle.len() as u64 + 100, "{globals:?}");
                    }
                    other => panic!("{name}: {other:?}"),
                }
                count += 1;
            }
        }
    }
    assert!(count > 900, "{count}");
}

#[test]
fn a_refusal_says_what_would_have_been_run() {
    let pickle = Pickle::new(2).global("posix", "system").op(b"(").text("rm -rf ~").op(b"tR0");
    let pickle = pickle.stack_global("builtins", "eval").op(b"(").text("\x1b[31m1").int(7).op(b"NtR").end();
    let error = Checkpoint::from_bytes("model.ckpt", torch_zip(&pickle, &[])).err().unwrap();
    let line = common::line(&error);
    assert_eq!(
        line,
        "model.ckpt: is a PyTorch pickle that asks for what a model does not need: posix.system(\"rm -rf ~\") (byte 16), \
         builtins.eval(\"\\u{1b}[31m1\", 7, …) (byte 56); nothing of it was run and none of it is read, get the model as \
         .safetensors"
    );
    // Many names are counted, and the line stays one.
    let many = (0..500).fold(Pickle::new(2), |pickle, index| pickle.global("evil", &format!("f{index}")));
    match refused(torch_zip(&many.end(), &[])) {
        PickleProblem::Refused { globals, total } => assert_eq!((globals.len(), total), (64, 500)),
        other => panic!("{other:?}"),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Reads all tensors of what opens: a damaged file may still be a valid one, and then its values are within the file.
fn exhaust(bytes: &[u8]) -> bool {
    match Checkpoint::from_bytes("mutant", bytes.to_vec()) {
        Ok(checkpoint) => {
            for info in checkpoint.tensors() {
                if info.bytes() <= 1 << 20 {
                    match checkpoint.read(&info.name) {
                        // A sum that is not 0 any more.
                        Err(error) => assert!(error.to_string().contains("their CRC-32 differs"), "{error}"),
                        Ok(raw) => assert_eq!(raw.data.len(), info.bytes()),
                    }
                }
            }
            true
        }
        Err(error) => {
            common::line(&error);
            false
        }
    }
}

#[test]
fn damaged_files_are_refused_or_read_within_their_bounds() {
    let values: Vec<u8> = (0..24).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let pickle = Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 24), 2, &[3, 4], &[1, 5]);
    let pickle =
        pickle.op(b"s").text("b").tensor("HalfStorage", ("0", 48), 4, &[2, 2], &[4, 1]).op(b"s").end();
    let files = [
        torch_zip(&one_tensor(24), &[("0", &values)]),
        torch_zip(&pickle, &[("0", &values)]),
        legacy(&one_tensor(24), &[("0", 24, &values)]),
    ];
    let (mut random, mut opened) = (Random(20), 0);
    for file in &files {
        for cut in 0..file.len() {
            assert!(!exhaust(&file[..cut]), "cut to {cut} bytes");
        }
        for _ in 0..1000 {
            let mut mutant = file.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(mutant.len());
                match random.below(4) {
                    0 => mutant[at] ^= 1 << random.below(8),
                    1 => mutant[at] = random.next() as u8,
                    2 => mutant.insert(at, random.next() as u8),
                    _ => drop(mutant.remove(at)),
                }
            }
            opened += usize::from(exhaust(&mutant));
        }
    }
    // Most damage is noticed; some is in values, in names and in bytes that nothing depends on.
    assert!((1..2500).contains(&opened), "{opened}");
}

#[test]
fn random_opcodes_are_refused_within_the_limits() {
    let opcodes = b"N\x88\x89KMXU\x8c(]})lt\x85\x86\x87daesu\x900012qrh\x94cR\x81b\x93Q.\x8f\x91";
    let mut random = Random(7);
    for _ in 0..3000 {
        let mut pickle = Pickle::new(2);
        for _ in 0..random.below(60) {
            pickle = match random.below(12) {
                0 => pickle.text("storage"),
                1 => pickle.global("torch._utils", "_rebuild_tensor_v2"),
                2 => pickle.global("collections", "OrderedDict"),
                3 => pickle.storage("FloatStorage", "0", random.next() as i64),
                4 => pickle.int(random.next() as i64 >> random.below(64)),
                5 => pickle.op(&[random.next() as u8]),
                _ => pickle.op(&[opcodes[random.below(opcodes.len())]]),
            };
        }
        assert!(!exhaust(&torch_zip(&pickle.end(), &[("0", &[0; 16])])) || random.0 > 0);
    }
}

/// Circles, towers and bombs: none is followed for long.
#[test]
fn circles_towers_and_bombs_end() {
    let deep =
        |open: &[u8], count: usize| (0..count).fold(Pickle::new(2).op(b"]"), |pickle, _| pickle.op(open));
    let bombs: Vec<Pickle> = vec![
        // A list and a dictionary that contain themselves.
        Pickle::new(2).op(b"]q\x00h\x00a"),
        Pickle::new(2).op(b"}q\x00").text("a").op(b"h\x00s"),
        // One that contains itself under many names, after a long list of names that count once.
        "abcdefgh".chars().fold(
            (0..100_000).fold(Pickle::new(2).op(b"}q\x00"), |p, _| p.text("a").op(b"Ns")),
            |p, name| p.text(&name.to_string()).op(b"h\x00s"),
        ),
        // A million lists and tuples in each other.
        deep(b"]", 1_000_000).op(&b"a".repeat(1_000_000)),
        deep(b"\x85", 1_000_000),
        // Sixty lists, each twice in the next.
        (0..60).fold(Pickle::new(2).op(b"]q\x00"), |p, _| p.op(b"0](h\x00h\x00eq\x00")),
        // A stack of nothing, a million marks.
        deep(b"N", 3_000_000),
        deep(b"(", 3_000_000),
        // Claims of more than there is.
        Pickle::new(4).op(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),
        Pickle::new(4).op(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff"),
        Pickle::new(2).op(b"X\xff\xff\xff\xff"),
        Pickle::new(2).op(b"\x8b\xff\xff\xff\x7f"),
        Pickle::new(2).op(b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe"),
        // Opcodes that take what is not there.
        Pickle::new(2).op(b"a"),
        Pickle::new(2).op(b"R"),
        Pickle::new(2).op(b"t"),
        Pickle::new(2).op(b"(0"),
        Pickle::new(2).op(b"h\x05"),
        Pickle::new(2).op(b"NNR"),
        Pickle::new(2).op(b"NQ"),
        Pickle::new(2).op(b"}(Nu"),
        Pickle::new(6),
        Pickle::new(2).op(b"\x82\x01"),
        Pickle::new(5).op(b"\x97"),
        Pickle::new(2).op(b"Sabc\n"),
        Pickle::new(2).op(b"c").op(&b"x".repeat(100_000)),
        // Tensors that are not in their storage.
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), 1, &[4], &[1]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), 0, &[2, 2], &[3, 1]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), -1, &[1], &[1]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), i64::MAX, &[1], &[1]).op(b"s"),
        Pickle::new(2)
            .op(b"}")
            .text("a")
            .tensor("FloatStorage", ("0", 4), 0, &[1 << 62, 4], &[0, 0])
            .op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), 0, &[1 << 40], &[0]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), 0, &[2], &[i64::MAX]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 4), 0, &[1; 9], &[1; 9]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", 1 << 60), 0, &[1], &[1]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("DoubleStorage", ("0", 4), 0, &[1], &[1]).op(b"s"),
        Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("../0", 4), 0, &[1], &[1]).op(b"s"),
        Pickle::new(2)
            .op(b"}")
            .text(&"a".repeat(2000))
            .tensor("FloatStorage", ("0", 4), 0, &[1], &[1])
            .op(b"s"),
        // Twenty thousand names with a prefix of a thousand bytes, of one tensor.
        (0..20_000).fold(prefixed(), |p, index| p.text(&index.to_string()).op(b"h\x02s")).op(b"s"),
        // A call of one list of pairs, again and again.
        (0..3000).fold(many_pairs().op(b"q\x010"), |p, _| {
            p.global("collections", "OrderedDict").op(b"h\x01\x85R0")
        }),
    ];
    for (index, bomb) in bombs.into_iter().enumerate() {
        let problem = refused(torch_zip(&bomb.end(), &[("0", &[0; 16])]));
        assert!(!matches!(problem, PickleProblem::Refused { .. }), "{index}: {problem:?}");
    }
}

/// What a collection that contains itself holds has one name.
#[test]
fn a_circle_is_looked_into_once() {
    let pickle = Pickle::new(2).op(b"}q\x00").text("self").op(b"h\x00s").text("list").op(b"](h\x00h\x00es");
    let pickle = pickle.text("weight").tensor("FloatStorage", ("0", 4), 0, &[4], &[1]).op(b"s");
    let bytes = torch_zip(&pickle.end(), &[("0", &[0; 16])]);
    let checkpoint = Checkpoint::from_bytes("circle", bytes).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["weight"]);
}

/// A dictionary within another under a long name, and a tensor in the memo.
fn prefixed() -> Pickle {
    let tensor = Pickle::new(2).tensor("FloatStorage", ("0", 4), 0, &[1], &[1]).op(b"q\x020");
    tensor.op(b"}").text(&"x".repeat(1000)).op(b"}")
}

/// A list of thousands of pairs.
fn many_pairs() -> Pickle {
    (0..5000).fold(Pickle::new(2).op(b"]("), |pickle, _| pickle.op(b"NN\x86")).op(b"e")
}

#[test]
fn archives_that_lie_are_refused() {
    let good = torch_zip(&one_tensor(4), &[("0", &[0; 16])]);
    let changed = |find: &[u8], last: bool, change: &dyn Fn(&mut [u8])| {
        let mut file = good.clone();
        let mut places = (0..file.len()).filter(|at| file[*at..].starts_with(find));
        let at = if last { places.next_back() } else { places.next() }.unwrap();
        change(&mut file[at..]);
        file
    };
    let central = b"PK\x01\x02";
    for (file, what) in [
        (zip(&[("readme.txt", b"hello")]), "without a data.pkl"),
        (zip(&[("a/data.pkl", b"N."), ("a/constants.pkl", b"N.")]), "TorchScript"),
        (zip(&[("a/data.pkl", b"N."), ("a/data.pkl", b"N.")]), "twice"),
        (zip(&[("a/data.pkl", b"N."), ("a/byteorder", b"big")]), "big-endian"),
        (changed(central, false, &|entry| entry[10] = 8), "compressed"),
        (changed(central, false, &|entry| entry[8] = 1), "compressed"),
        (changed(central, false, &|entry| entry[42] = 9), "damaged"),
        (changed(central, false, &|entry| entry[24..28].fill(0xee)), "compressed"),
        (changed(central, true, &|entry| entry[0] = 0), "damaged"),
        (changed(b"PK\x05\x06", false, &|end| end[16] = 0xff), "damaged"),
        (changed(b"PK\x05\x06", false, &|end| end[10..12].fill(0xff)), "damaged"),
        (changed(b"PK\x05\x06", false, &|end| end[20] = 1), "no directory"),
        (good[..good.len() - 30].to_vec(), "no directory"),
    ] {
        let error = Checkpoint::from_bytes("lie", file).map(|_| ()).expect_err(what);
        assert!(common::line(&error).contains(what), "{what}: {error}");
    }
}
