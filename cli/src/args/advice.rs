//! Values that begin with a minus sign, and advice on them that works.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::ffi::OsString;

/// The command with subcommands whose flags take what looks like a negative number as their value.
pub(super) fn with_negative_values(command: Command) -> Command {
    let takes_value = |arg: &Arg| arg.get_long().is_some() && arg.get_action().takes_values();
    command.mut_subcommands(|sub| {
        sub.mut_args(|arg| if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg })
    })
}

/// An error whose advice helps. clap advises to put a word with a minus sign behind `--`: behind a flag that takes a value it
/// is perhaps that value, and elsewhere the advice stands only if the line is then understood.
pub(super) fn that_helps(mut error: clap::Error, command: &mut Command, line: &[OsString]) -> clap::Error {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(unknown)) if error.kind() == ErrorKind::UnknownArgument => unknown.clone(),
        _ => return error,
    };
    let is_it = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(&unknown));
    let Some(at) = line.iter().skip(1).position(is_it).map(|at| at + 1) else { return error };
    let sub = line.get(1).and_then(|name| command.find_subcommand(name));
    let before = line[at - 1].to_string_lossy();
    if sub.is_some_and(|sub| sub.get_arguments().any(|arg| is_flag_with_value(arg, &before))) {
        let (value, between) = (line[at].to_string_lossy(), if before.starts_with("--") { "=" } else { "" });
        let advice = format!("to pass it as the value of {before}, write {before}{between}{value}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
        return error;
    }
    let mut advised = line.to_vec();
    let word = advised.remove(at);
    advised.extend(["--".into(), word]);
    if command.try_get_matches_from_mut(advised).is_err() {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// What is said of the commands and flags of a queue, which this program was built without.
#[cfg(not(feature = "nats"))]
pub(super) fn of_queue(error: &clap::Error) -> Option<String> {
    let given = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand].into_iter().find_map(|kind| {
        let Some(ContextValue::String(given)) = error.get(kind) else { return None };
        Some(given.as_str())
    })?;
    let is_unknown = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let is_of_queue = matches!(given, "worker" | "workers" | "--require-isa") || given.starts_with("--queue");
    (is_unknown && is_of_queue).then(|| format!("{given}: {WITHOUT_QUEUE}"))
}

/// How to get a program with a queue.
#[cfg(not(feature = "nats"))]
pub(crate) const WITHOUT_QUEUE: &str = "this program was built without the queue of several machines; build it with the feature nats: \
     cargo build --release -p latent-cli --features nats";

/// Whether a word is a flag that takes a value.
fn is_flag_with_value(arg: &Arg, word: &str) -> bool {
    let is_long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
    let is_short = arg.get_short().is_some_and(|short| word == format!("-{short}"));
    (is_long || is_short) && arg.get_action().takes_values()
}
