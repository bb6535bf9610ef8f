//! The program is killed at random moments, and the disk ends at random places: what has its name is whole, the old or the
//! new, and nothing else is harmed. What a killed program leaves beside is gone after the next run.

#![cfg(unix)]

use crate::common::{Room, synthetic};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often the program is killed in each test, unless the environment variable `LATENT_KILLS` says another number.
const KILLS: usize = 12;
/// The signal that no program can hear.
const SIGKILL: i32 = 9;
/// How many lengths of the disk are tried.
const DISKS: usize = 20;
/// What the hidden folders' names begin with.
const HIDDEN: &str = ".latent-tmp-";

fn kills() -> usize {
    std::env::var("LATENT_KILLS").map_or(KILLS, |number| number.parse().expect("LATENT_KILLS is a number"))
}

/// Contents by path.
type Files = BTreeMap<String, Vec<u8>>;

/// All files of a room whose names are not hidden, in folders too.
fn files(room: &Room) -> Files {
    fn walk(folder: &Path, prefix: &str, found: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') {
                continue;
            }
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{prefix}{name}/"), found);
            } else {
                found.insert(format!("{prefix}{name}"), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = Files::new();
    walk(&room.path(""), "", &mut found);
    found
}

/// Removes what was left under hidden names; how many there were.
fn clear(room: &Room) -> usize {
    let hidden: Vec<_> = room.files().into_iter().filter(|name| name.starts_with('.')).collect();
    for name in &hidden {
        let path = room.path(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
    hidden.len()
}

/// Numbers from 0 to 1, the same in each run (SplitMix64); the moments are as random as the system's clock is.
struct Random(u64);

impl Random {
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) as f64 / u64::MAX as f64
    }
}

/// What two commands leave, each when it ends by itself. They write to the same names.
struct Outcomes {
    first: Files,
    second: Files,
    /// Time of the second.
    took: Duration,
}

fn outcomes(room: &Room, first: &[&str], second: &[&str]) -> Outcomes {
    room.succeeds(first);
    let first = files(room);
    let started = Instant::now();
    room.succeeds(second);
    let outcomes = Outcomes { first, second: files(room), took: started.elapsed() };
    assert!(outcomes.first.keys().eq(outcomes.second.keys()) && outcomes.first != outcomes.second);
    outcomes
}

/// Kills the two commands in turn, and looks at the files. `wait` waits for a random moment of a run, which `longest` is
/// the longest time of. Those that ended before their moment do not count.
fn kill(
    room: &Room,
    commands: [&[&str]; 2],
    took: Duration,
    mut wait: impl FnMut(&mut Child, &mut Random, Duration),
    mut look: impl FnMut(&Files),
) {
    let (mut random, mut longest, mut killed, kills) = (Random(1), took, 0, kills());
    for round in 0.. {
        let mut child =
            room.command(commands[round % 2]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait(&mut child, &mut random, longest);
        child.kill().unwrap();
        let is_killed = child.wait().unwrap().signal() == Some(SIGKILL);
        if is_killed {
            killed += 1;
        } else {
            // It takes less time now.
            longest = longest.mul_f64(0.8).max(Duration::from_millis(5));
        }
        look(&files(room));
        // A run that ends removes what others left, and leaves nothing.
        let hidden: Vec<_> = room.files().into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(hidden.iter().all(|name| is_killed && name.starts_with(HIDDEN)), "{hidden:?}");
        if killed == kills {
            println!("{kills} kills in {} runs, {took:?} each at first and {longest:?} at last", round + 1);
            break;
        }
        assert!(round < 20 * kills + 100, "it was killed {killed} times in {round} runs");
    }
}

/// Of images each is the old or the new one.
#[test]
fn while_it_draws_each_image_is_the_old_or_the_new_one() {
    let room = Room::new();
    let draw = |seed| {
        let size = ["-W", "8", "-H", "8", "--steps", "2", "-b", "16", "-t", "1"];
        let names = ["-s", seed, "-o", "p-%03d.png", "--preview", "preview.png"];
        [&["txt2img", "a red apple"], &size[..], &names[..]].concat()
    };
    let (first, second) = (draw("1"), draw("1000"));
    let outcomes = outcomes(&room, &first, &second);
    // How often an image of one was found beside an image of the other.
    let mut mixed = 0;
    // Between two pictures, wherever that is: what is asserted of the number of such moments depends on no clock.
    let wait = |child: &mut Child, random: &mut Random, _| {
        let pictures = || {
            let names = outcomes.first.keys().filter(|name| name.starts_with("p-"));
            names
                .map(|name| std::fs::metadata(room.path(name)).unwrap().modified().unwrap())
                .collect::<Vec<_>>()
        };
        let before = pictures();
        let count = (random.part() * (before.len() + 1) as f64) as usize;
        while before.iter().zip(pictures()).filter(|(old, new)| **old != *new).count() < count
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    kill(&room, [&first, &second], outcomes.took, wait, |found| {
        assert!(found.keys().eq(outcomes.first.keys()), "{:?}", found.keys());
        let mut of_first = 0;
        for (name, bytes) in found.iter().filter(|(name, _)| name.starts_with("p-")) {
            of_first += usize::from(*bytes == outcomes.first[name]);
            assert!(*bytes == outcomes.first[name] || *bytes == outcomes.second[name], "{name}");
        }
        let preview = image::load_from_memory(&found["preview.png"]).unwrap();
        assert_eq!((preview.width(), preview.height()), (8, 8));
        mixed += usize::from(of_first > 0 && of_first < found.len() - 1);
    });
    println!("{mixed} times between two images");
    room.succeeds(&first);
    assert_eq!(clear(&room), 0, "nothing is left of those that were killed");
    assert!(mixed >= kills() / 10, "it was killed between images {mixed} times");
}

/// Kills two commands in turn, which write to the same names: what is there is what one of them leaves. The run after them
/// leaves nothing else.
fn is_old_or_new(room: &Room, first: &[&str], second: &[&str]) {
    let outcomes = outcomes(room, first, second);
    let (mut olds, mut news) = (0, 0);
    kill(room, [first, second], outcomes.took, at_random, |found| {
        let (is_old, is_new) = (*found == outcomes.first, *found == outcomes.second);
        assert!(is_old || is_new, "{:?}", found.iter().map(|(n, b)| (n, b.len())).collect::<Vec<_>>());
        (olds, news) = (olds + usize::from(is_old), news + usize::from(is_new));
    });
    room.succeeds(first);
    assert_eq!(clear(room), 0, "nothing is left of those that were killed");
    println!("{}: {olds} times the first, {news} times the second", first[0]);
}

/// Nothing is asserted of the moments: a slower machine is killed at others.
fn at_random(_: &mut Child, random: &mut Random, longest: Duration) {
    std::thread::sleep(longest.mul_f64(random.part()));
}

const SMALL: [&str; 6] = ["-W", "8", "-H", "8", "-t", "1"];

#[test]
fn while_it_previews_the_preview_and_the_image_are_the_old_or_the_new_ones() {
    let room = Room::new();
    let draw = |seed| {
        let names = ["--steps", "1", "-s", seed, "-o", "image.png", "--preview", "preview.png"];
        [&["txt2img", "a red apple"], &SMALL[..], &names[..]].concat()
    };
    let outcomes = outcomes(&room, &draw("1"), &draw("1000"));
    kill(&room, [&draw("1"), &draw("1000")], outcomes.took, at_random, |found| {
        for name in ["image.png", "preview.png"] {
            assert!(
                [&outcomes.first, &outcomes.second].iter().any(|files| files[name] == found[name]),
                "{name}"
            );
        }
        assert_eq!(found.len(), 2);
    });
    room.succeeds(&draw("1"));
    assert_eq!(clear(&room), 0, "nothing is left of those that were killed");
}

/// Each image that has a name is whole, and none is ever replaced.
#[test]
fn while_it_draws_under_default_names_each_image_is_whole() {
    let room = Room::new();
    let draw = |seed| [&["txt2img", "a red apple", "--steps", "1", "-s", seed], &SMALL[..]].concat();
    room.succeeds(&draw("1"));
    let started = Instant::now();
    room.succeeds(&draw("2"));
    let took = started.elapsed();
    let whole = files(&room);
    let mut before = whole.clone();
    kill(&room, [&draw("1"), &draw("2")], took, at_random, |found| {
        assert!(found.len() - before.len() <= 1);
        assert!(before.iter().all(|(name, bytes)| found.get(name) == Some(bytes)));
        for (name, bytes) in found {
            let seed = &name["a-red-apple-".len()..][..1];
            assert!(*bytes == whole[&format!("a-red-apple-{seed}.png")], "{name}");
        }
        before.clone_from(found);
    });
    room.succeeds(&draw("1"));
    assert_eq!(clear(&room), 0, "nothing is left of those that were killed");
}

#[test]
fn while_it_draws_a_grid_the_grid_is_the_old_or_the_new_one() {
    let room = Room::new();
    let grid = |seed| {
        let args = ["grid", "a red apple", "--x", "steps=1,2", "-s", seed, "-o", "grid.png"];
        [&args[..], &SMALL].concat()
    };
    is_old_or_new(&room, &grid("1"), &grid("1000"));
}

#[test]
fn while_it_upscales_the_image_is_the_old_or_the_new_one() {
    let room = Room::new();
    room.succeeds(&[&["txt2img", "a red apple", "--steps", "1", "-o", "small.png"], &SMALL[..]].concat());
    let upscale = |scale| ["upscale", "small.png", "--scale", scale, "-o", "large.png"];
    is_old_or_new(&room, &upscale("2"), &upscale("3"));
}

#[test]
fn while_it_replays_the_image_is_the_old_or_the_new_one() {
    let room = Room::new();
    for (seed, name) in [("1", "one.png"), ("2", "two.png")] {
        let args = ["txt2img", "a red apple", "--steps", "1", "-s", seed, "-o", name];
        room.succeeds(&[&args[..], &SMALL].concat());
    }
    let replay = |name| ["replay", name, "-o", "again.png"];
    is_old_or_new(&room, &replay("one.png"), &replay("two.png"));
}

/// A model in two number formats, written to one name in turn.
fn conversions(output: &str) -> [Vec<&str>; 2] {
    ["f16", "f32"].map(|format| vec!["convert", "model.safetensors", output, "--dtype", format, "--force"])
}

fn converted_is_old_or_new(output: &str) {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    let [first, second] = conversions(output);
    is_old_or_new(&room, &first, &second);
}

#[test]
fn while_it_converts_the_file_is_the_old_or_the_new_one() {
    converted_is_old_or_new("out.safetensors");
}

/// The folder is exchanged in one step, too.
#[test]
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn while_it_converts_the_folder_is_the_old_or_the_new_one() {
    converted_is_old_or_new("out");
}

/// Where nothing is there yet, a model is there whole or not at all.
fn is_new_or_absent(output: &str) {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    let before = files(&room);
    let args = ["convert", "model.safetensors", output];
    let started = Instant::now();
    room.succeeds(&args);
    let (after, took) = (files(&room), started.elapsed());
    let remove = || {
        let path = room.path(output);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    };
    remove();
    kill(&room, [&args, &args], took, at_random, |found| {
        assert!(*found == before || *found == after);
        if *found == after {
            remove();
        }
    });
    room.succeeds(&args);
    assert_eq!(clear(&room), 0, "nothing is left of those that were killed");
}

#[test]
fn while_it_converts_to_a_free_name_the_model_is_whole_or_absent() {
    is_new_or_absent("out.safetensors");
    is_new_or_absent("out");
}

/// Does work in a thread in which, and in whose programs, names can neither be exchanged nor taken without replacing, as on
/// file systems without `renameat2`.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn without_an_exchange(work: impl FnOnce() + Send + 'static) {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    const RENAMEAT2: i64 = if cfg!(target_arch = "x86_64") { 316 } else { 276 };
    const EINVAL: u32 = 22;
    let work = move || {
        let has_flags = SeccompCondition::new(4, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0).unwrap();
        let rules = [(RENAMEAT2, vec![SeccompRule::new(vec![has_flags]).unwrap()])].into();
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let (all, these) = (SeccompAction::Allow, SeccompAction::Errno(EINVAL));
        let filter: BpfProgram =
            SeccompFilter::new(rules, all, these, architecture).unwrap().try_into().unwrap();
        seccompiler::apply_filter(&filter).unwrap();
        work();
    };
    std::thread::spawn(work).join().unwrap();
}

/// Two renames would leave a moment without the model. So a folder is not replaced there; files are, as everywhere.
#[test]
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn where_names_cannot_be_exchanged_a_folder_stays_and_files_are_the_old_or_the_new_ones() {
    without_an_exchange(|| {
        let room = Room::new();
        room.file("model.safetensors", &synthetic("sd15"));
        room.succeeds(&["convert", "model.safetensors", "out"]);
        let before = files(&room);
        for args in
            [&conversions("out")[1][..], &["convert", "out", "model.safetensors", "-f", "--layout", "folder"]]
        {
            room.refuses(args, &["cannot be replaced in one step on this file system; remove it first"]);
        }
        assert!(files(&room) == before);
        is_new_or_absent("new");
        is_new_or_absent("new.safetensors");
        converted_is_old_or_new("out.safetensors");
    });
    without_an_exchange(while_it_draws_under_default_names_each_image_is_whole);
}

/// Runs a command on a disk that takes no file of more than so many blocks of 512 bytes; whether it succeeded.
fn on_a_disk_of(blocks: usize, room: &Room, args: &[&str]) -> bool {
    let program = room.command(&[]);
    let mut shell = Command::new("sh");
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell.args(["-c", &limit, "sh"]).arg(program.get_program()).args(args);
    let output = shell.current_dir(room.path("")).env("LATENT_DEVICE", "cpu").output().unwrap();
    if !output.status.success() {
        let error = String::from_utf8(output.stderr).unwrap();
        let last = error.lines().last().unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(last.starts_with("latent: ") && last.contains("File too large"), "{error}");
    }
    output.status.success()
}

/// Wherever the disk ends, a conversion that fails leaves what was there, and nothing beside it.
#[test]
fn wherever_the_disk_ends_a_conversion_leaves_what_was_there() {
    for output in ["out.safetensors", "out"] {
        let room = Room::new();
        room.file("model.safetensors", &synthetic("sd15"));
        let [first, second] = conversions(output);
        let outcomes = outcomes(&room, &first, &second);
        room.succeeds(&first);
        let before = files(&room);
        assert!(before == outcomes.first);
        let new = outcomes.second.iter().filter(|(name, _)| *name != "model.safetensors");
        let longest = new.map(|(_, bytes)| bytes.len()).max().unwrap();
        let mut random = Random(2);
        for _ in 0..DISKS {
            let blocks = (longest as f64 * random.part()) as usize / 512;
            assert!(!on_a_disk_of(blocks, &room, &second), "{blocks} blocks");
            assert!(files(&room) == before, "{blocks} blocks");
            assert_eq!(clear(&room), 0, "{blocks} blocks");
        }
    }
}
