//! A command line that draws an image.

use crate::args::Args;
use clap::{Arg, Command, CommandFactory};
use std::ffi::OsString;
use std::path::PathBuf;

/// A command, its flags by their long names, and the image that it begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) command: String,
    flags: Vec<(String, Option<OsString>)>,
    pub(super) image: Option<PathBuf>,
    /// Flags that were not given then either.
    used: Vec<String>,
}

impl Line {
    pub(super) fn new(command: &str) -> Line {
        Line { command: command.to_owned(), ..Line::default() }
    }

    pub(super) fn flag(&mut self, name: &str, value: impl Into<OsString>) {
        self.flags.push((name.to_owned(), Some(value.into())));
    }

    /// A flag for what was used without being asked for.
    pub(super) fn used(&mut self, name: &str, value: impl Into<OsString>) {
        self.flag(name, value);
        self.used.push(name.to_owned());
    }

    pub(super) fn switch(&mut self, name: &str) {
        self.flags.push((name.to_owned(), None));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(known, _)| known == name)
    }

    /// The line as a command of the program.
    ///
    /// # Errors
    /// The first line of clap's, if it is none.
    pub(super) fn read(&self, further: &[OsString]) -> Result<Args, String> {
        let mut args = Args::read(self.words(further)).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or("");
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        })?;
        // So that the new file tells what the old one did.
        let by_hand: Vec<String> = further.iter().filter_map(|word| self.long_name(word)).collect();
        if let Some(drawing) = args.command.drawing() {
            drawing.given.forget(self.used.iter().filter(|name| !by_hand.contains(name)));
        }
        Ok(args)
    }

    /// The words of the line, with further flags that take the place of those of the same name.
    pub(super) fn words(&self, further: &[OsString]) -> Vec<OsString> {
        let taken: Vec<String> = further.iter().filter_map(|word| self.long_name(word)).collect();
        let mut words: Vec<OsString> = vec!["latent".into(), self.command.clone().into()];
        for (name, value) in self.flags.iter().filter(|(name, _)| !taken.contains(name)) {
            let mut word = OsString::from(format!("--{name}"));
            if let Some(value) = value {
                word.push("=");
                word.push(value);
            }
            words.push(word);
        }
        words.extend(further.iter().cloned());
        if let Some(image) = &self.image {
            words.extend(["--".into(), image.into()]);
        }
        words
    }

    /// The long name of a flag that a word is.
    fn long_name(&self, word: &OsString) -> Option<String> {
        let word = word.to_str()?;
        if let Some(long) = word.strip_prefix("--") {
            return Some(long.split('=').next().unwrap_or(long).to_owned());
        }
        let short = word.strip_prefix('-')?.chars().next()?;
        let command = command(&self.command)?;
        let long = command.get_arguments().find(|arg| arg.get_short() == Some(short))?.get_long()?.to_owned();
        Some(long)
    }
}

/// The description of a command.
pub(super) fn command(name: &str) -> Option<Command> {
    Args::command().find_subcommand(name).cloned()
}

/// A command's flag of that long name, or what is given by its place.
pub(super) fn argument<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| match arg.get_long() {
        Some(long) => long == name,
        None => arg.get_id() == name,
    })
}

/// Words as a person types them in a shell.
pub(super) fn quoted(words: &[OsString]) -> String {
    let quote = |word: &OsString| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+%@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            return word.into_owned();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_by_hand_take_the_place_of_those_told() {
        let mut line = Line::new("img2img");
        line.flag("steps", "20");
        line.flag("seed", "-5");
        line.switch("low-memory");
        line.image = Some("-a b.png".into());
        let words = line.words(&["--steps=30".into(), "-s".into(), "6".into()]);
        assert_eq!(words, ["latent", "img2img", "--low-memory", "--steps=30", "-s", "6", "--", "-a b.png"]);
        assert_eq!(quoted(&words[5..]), "6 -- '-a b.png'");
        assert_eq!(quoted(&["it's".into(), "".into()]), r"'it'\''s' ''");
    }
}
