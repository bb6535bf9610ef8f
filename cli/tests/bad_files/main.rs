//! Bad files and bad flags, by the hundred: each is refused with status 2 and one line that says what is wrong, within a
//! second and little memory. `docs/hardening.md` lists them.

#[path = "../common/mod.rs"]
mod common;

mod case;
mod flags;
mod folders;
mod headers;
mod images;
mod kinds;
mod loras;
mod models;

use case::Case;
use common::Room;
use std::collections::BTreeSet;

/// Processor time that a refusal may take, in microseconds: twelve times what the slowest takes. Other processes do not count.
#[cfg(unix)]
const MAX_MICROSECONDS: i64 = 1_000_000;
/// Memory that a refusal may take beside four times the header.
#[cfg(unix)]
const MAX_BYTES: u64 = 64 << 20;

fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for group in [kinds::all, headers::all, folders::all, models::all, loras::all, flags::all, images::all] {
        cases.extend(group());
    }
    // The peak memory of all programs so far is what the system tells: so those that may take more come last.
    cases.sort_by_key(|case| case.header);
    cases
}

/// One test, as the system tells the peak memory of all programs that were run together.
#[test]
fn every_case_is_refused_in_one_line_soon_and_with_little_memory() {
    let (mut wrong, mut slowest) = (Vec::new(), (0, String::new()));
    for case in all() {
        match std::panic::catch_unwind(|| check(&case)) {
            Ok(took) => slowest = slowest.max((took, name(&case))),
            Err(_) => wrong.push(name(&case)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    #[cfg(unix)]
    println!("slowest: {} µs, {}; most memory: {} KiB", slowest.0, slowest.1, usage::peak_bytes() >> 10);
}

fn name(case: &Case) -> String {
    format!("{}: {}", case.group, case.name)
}

/// Runs the commands of a case; the most microseconds that one took, where the system tells.
fn check(case: &Case) -> i64 {
    let room = Room::new();
    (case.make)(&room);
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix tells"))]
    let mut longest = 0;
    for args in &case.commands {
        #[cfg(unix)]
        let before = usage::microseconds();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let says: Vec<&str> = case.says.iter().map(String::as_str).collect();
        room.refuses(&args, &says);
        #[cfg(unix)]
        {
            let (took, peak) = (usage::microseconds() - before, usage::peak_bytes());
            assert!(took < MAX_MICROSECONDS, "{}: {took} microseconds", case.name);
            assert!(peak < MAX_BYTES + 4 * case.header, "{}: {peak} bytes", case.name);
            longest = longest.max(took);
        }
    }
    longest
}

/// What the system tells of the programs that were run and ended.
#[cfg(unix)]
mod usage {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    pub(crate) fn microseconds() -> i64 {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        (usage.user_time() + usage.system_time()).num_microseconds()
    }

    pub(crate) fn peak_bytes() -> u64 {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        // macOS tells bytes, the others kibibytes.
        usage.max_rss() as u64 * if cfg!(target_os = "macos") { 1 } else { 1024 }
    }
}

#[test]
fn there_are_enough_and_the_docs_list_each() {
    let cases = all();
    assert!(cases.len() >= 150, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| (case.group, &case.name)).collect();
    assert_eq!(names.len(), cases.len(), "no two of one name");

    let mut list = format!("{} cases.\n", cases.len());
    for group in names.iter().map(|(group, _)| *group).collect::<BTreeSet<_>>() {
        let members: Vec<_> = names.iter().filter(|(of, _)| *of == group).map(|(_, n)| n.as_str()).collect();
        list += &format!("\n**{group}** ({}): {}.\n", members.len(), members.join("; "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hardening.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- cases -->\n").unwrap();
    let (listed, after) = rest.split_once("<!-- end of cases -->").unwrap();
    if std::env::var_os("LATENT_UPDATE_DOCS").is_some() {
        let text = format!("{before}<!-- cases -->\n{list}<!-- end of cases -->{after}");
        return std::fs::write(path, text).unwrap();
    }
    assert_eq!(listed, list, "run this test with LATENT_UPDATE_DOCS=1");
}
