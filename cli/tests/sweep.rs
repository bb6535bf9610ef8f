//! Command lines by the thousand, over all commands: each ends by itself with the status 0, 1 or 2, says what is wrong in
//! few lines, and changes nothing but what it names as its output.
//!
//! Some of them run always. `LATENT_SWEEP=all` runs all, `LATENT_SWEEP=1500` so many of them, spread over all;
//! `LATENT_SWEEP_PROGRAM` names another program to run, such as one that was built for a release. Where root runs it, it
//! runs as root and as a plain user.

#![cfg(unix)]

mod commands;
mod place;
mod tree;

use commands::{Line, all, verbs};
use place::{Person, Place, command};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tree::{Tree, TreeEntry};

/// How many command lines run always.
const SAMPLE: usize = 150;
/// After so long a command hangs.
const HANGS: Duration = Duration::from_secs(60);
/// Maximum number of changes that are listed of a command.
const MAX_LISTED: usize = 4;
/// Maximum number of lines of a message.
const MAX_LINES: usize = 3;

/// The program in a folder where every user can run it.
fn program(folder: &TempDir) -> PathBuf {
    let built = std::env::var_os("LATENT_SWEEP_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_latent").into());
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("latent");
    std::fs::hard_link(&built, &program).or_else(|_| std::fs::copy(&built, &program).map(drop)).unwrap();
    program
}

fn help(program: &Path, verb: &str) -> String {
    let output = Command::new(program).args([verb, "--help"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_but_the_named_output_changes_and_every_command_ends_well() {
    let folder = TempDir::new().unwrap();
    let program = program(&folder);
    let lines = all(|verb| help(&program, verb));
    println!("{} command lines", lines.len());
    assert!(lines.len() >= 1500, "{}", lines.len());
    let wanted = match std::env::var("LATENT_SWEEP").as_deref() {
        Ok("all") => lines.len(),
        Ok(number) => number.parse().unwrap(),
        Err(_) => SAMPLE,
    };
    let chosen: Vec<&Line> = spread(&lines, wanted);
    let is_root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    let people = if is_root { vec![Person::Tester, Person::Nobody] } else { vec![Person::Tester] };
    let mut faults = Vec::new();
    for (number, person) in people.iter().enumerate() {
        let place = Place::new(*person);
        // With two people each runs half of a sample.
        let all = chosen.len() == lines.len();
        let own = chosen.iter().enumerate().filter(|(at, _)| all || at % people.len() == number);
        let (ran, found) = sweep(&place, &program, own.map(|(_, line)| *line));
        println!("{person:?}: {ran} commands, {} faults", found.len());
        faults.extend(found.into_iter().map(|fault| format!("{person:?}: {fault}")));
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// About so many of the lines, spread over all. Multiples of the golden ratio fall into step with no period: an even stride
/// would try the same odd path again and again.
fn spread(lines: &[Line], wanted: usize) -> Vec<&Line> {
    let part = |at: usize| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as f64 / u64::MAX as f64;
    let share = wanted as f64 / lines.len() as f64;
    lines
        .iter()
        .enumerate()
        .filter(|(at, _)| wanted >= lines.len() || part(*at) < share)
        .map(|(_, line)| line)
        .collect()
}

#[test]
fn every_command_of_the_sweep_succeeds_when_nothing_is_odd() {
    let folder = TempDir::new().unwrap();
    let program = program(&folder);
    let plain: Vec<Line> = all(|_| String::new());
    let place = Place::new(Person::Tester);
    let names: BTreeSet<_> = verbs().iter().map(|verb| verb.name).collect();
    for name in names {
        let line = plain.iter().find(|line| line.verb == name).unwrap();
        let ended = run(&place, &program, line);
        assert!(ended.status.is_some_and(|status| status.success()), "{line}\n{}", ended.error);
        place.build();
    }
}

/// Runs commands; how many there were, and what was wrong.
fn sweep<'a>(place: &Place, program: &Path, lines: impl Iterator<Item = &'a Line>) -> (usize, Vec<String>) {
    let (mut ran, mut faults) = (0, Vec::new());
    let mut before = place.tree();
    for line in lines {
        let outputs = Outputs::of(place, line);
        let ended = run(place, program, line);
        let after = place.tree();
        ran += 1;
        let wrong = ended.faults(line).into_iter().chain(outputs.faults(&before, &after, &ended));
        for wrong in wrong {
            println!("{wrong}: {line}");
            faults.push(format!("{wrong}: {line}"));
        }
        if after != before {
            place.build();
            before = place.tree();
        }
    }
    (ran, faults)
}

/// How a command ended.
struct Ended {
    /// Nothing where it hung.
    status: Option<ExitStatus>,
    output: String,
    error: String,
}

fn run(place: &Place, program: &Path, line: &Line) -> Ended {
    let [output, error] = ["output", "error"].map(|name| place.printed(name));
    let mut command = command(place, program);
    command.args(line.arguments());
    command.stdout(std::fs::File::create(&output).unwrap()).stderr(std::fs::File::create(&error).unwrap());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() > HANGS => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    Ended { status, output: read(&output), error: read(&error) }
}

impl Ended {
    /// What is wrong with its end, and with what it printed.
    fn faults(&self, line: &Line) -> Vec<String> {
        let mut faults = Vec::new();
        match self.status.map(|status| status.code()) {
            None => faults.push("hangs".to_owned()),
            Some(Some(0..=2)) => {}
            _ => faults.push(format!("ends with {:?}", self.status)),
        }
        if self.error.contains("panicked") {
            faults.push("panics".to_owned());
        }
        if longest_message(&self.error) > MAX_LINES {
            faults.push("says too many lines at once".to_owned());
        }
        if self.status.is_some_and(|status| !status.success()) && !self.error.contains("latent: ") {
            faults.push("does not say what is wrong".to_owned());
        }
        if self.status.and_then(|status| status.code()) == Some(2) && !self.output.is_empty() {
            faults.push("prints a part of what it refuses".to_owned());
        }
        let steers = |c: char| ['\u{202e}', '\u{1b}', '\u{7}'].contains(&c);
        let is_data = ["completions", "man"].contains(&line.verb)
            || line.value("output").is_some_and(|name| name == "-");
        if (!is_data && self.output.contains(steers)) || self.error.contains(steers) {
            faults.push("prints what steers a terminal".to_owned());
        }
        faults
    }
}

/// Lines of the longest message, each of which begins with the program's name.
fn longest_message(text: &str) -> usize {
    let (mut longest, mut lines) = (0, 0);
    for line in text.lines() {
        lines = if line.starts_with("latent: ") { 1 } else { lines + usize::from(lines > 0) };
        longest = longest.max(lines);
    }
    longest
}

/// What a command may change.
struct Outputs {
    /// The files or folders that it names, where links lead.
    named: Vec<PathBuf>,
    /// The same as they are named: the further images of a batch are beside a link.
    given: Vec<PathBuf>,
    /// Folders in which it may choose a name.
    unnamed: Vec<PathBuf>,
    /// Whether only a model may be replaced: always by a converted one, and only if that is asked for.
    model_replaced: Option<bool>,
}

impl Outputs {
    fn of(place: &Place, line: &Line) -> Outputs {
        let room = place.room();
        let by_name = |path: &Path| {
            let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
            parent.zip(path.file_name()).map_or(path.to_owned(), |(parent, name)| parent.join(name))
        };
        let resolve = |path: PathBuf| path.canonicalize().unwrap_or_else(|_| by_name(&path));
        let is_convert = line.verb == "convert";
        let converted = line.words.get(1).filter(|_| is_convert).cloned();
        let given = [line.value("output"), line.value("preview"), converted];
        // Only manual pages go into a folder that is there.
        let is_output = |path: &PathBuf| line.verb == "man" || !path.is_dir();
        let given: Vec<_> =
            given.into_iter().flatten().map(|path| room.join(path)).filter(is_output).collect();
        let named = given.iter().cloned().map(resolve).collect();
        let given = given.iter().map(|path| by_name(path)).collect();
        let draws = line.value("steps").is_some() || ["upscale", "replay"].contains(&line.verb);
        let beside = line.words.first().map(|word| resolve(room.join(word)));
        let beside = beside.and_then(|path| Some(path.parent()?.to_owned()));
        let chooses = draws && line.value("output").is_none();
        let unnamed = if chooses { std::iter::once(room).chain(beside).collect() } else { Vec::new() };
        let model_replaced = is_convert.then(|| line.has("--force"));
        Outputs { named, given, unnamed, model_replaced }
    }

    /// Changes that may not be.
    fn faults(&self, before: &Tree, after: &Tree, ended: &Ended) -> Vec<String> {
        let refused = ended.status.and_then(|status| status.code()) == Some(2);
        let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let change = |path: &PathBuf| {
            let (old, new) = (before.get(path), after.get(path));
            let word = match (old, new) {
                _ if old == new => return None,
                (None, _) => "makes",
                (_, None) => "removes",
                _ => "changes",
            };
            let is_fine = !refused && self.allow(path, old, new);
            (!is_fine).then(|| format!("{word} {:?}", path.file_name().unwrap_or_default()))
        };
        let mut faults: Vec<_> = paths.into_iter().filter_map(change).collect();
        // What is lost comes first, and a whole model need not be listed.
        faults.sort_by_key(|fault| !fault.starts_with("removes"));
        faults.truncate(MAX_LISTED);
        if refused && !faults.is_empty() {
            faults.push("though it refuses".to_owned());
        }
        // One command can do many things.
        if faults.is_empty() { faults } else { vec![faults.join(", ")] }
    }

    fn allow(&self, path: &Path, old: Option<&TreeEntry>, new: Option<&TreeEntry>) -> bool {
        let Some(new) = new else { return false };
        let hidden = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with(".tmp") || name.starts_with(".latent")
        });
        match old {
            None if hidden => false,
            None => {
                self.named.iter().chain(&self.given).any(|named| is_of(path, named))
                    || (new.kind == "file" && self.unnamed.iter().any(|folder| path.parent() == Some(folder)))
            }
            Some(old) => {
                let may = self.model_replaced.is_none_or(|force| force && old.is_model);
                // A model of another layout is a folder in place of a file.
                let is_model = new.kind == "file" || self.model_replaced.is_some();
                may && old.kind == "file" && is_model && self.named.iter().any(|named| named == path)
            }
        }
    }
}

/// Whether a new file or folder is what a name stands for: it, what is in it, or one of a batch that has its name.
fn is_of(path: &Path, named: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_numbered = path.parent() == named.parent() && {
        let name = stem(named);
        let start = name.split(['{', '%']).next().unwrap_or_default();
        stem(path).starts_with(start)
    };
    path.starts_with(named) || is_numbered
}
