//! The command line that draws what a replay does.

use crate::args::prompt_file::as_word;
use crate::args::{Args, UsageError};
use clap::CommandFactory;
use latent_app::Job;
use latent_app::job::{JobOptionKind, OPTIONS};
use latent_app::replay::{Replay, ReplayLayout};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The flags whose values are prompts.
const PROMPTS: [&str; 2] = ["prompt", "negative-prompt"];

/// A command, its flags by their long names, and the image that it begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    command: &'static str,
    flags: Vec<(String, Option<OsString>)>,
    image: Option<PathBuf>,
}

impl CommandLine {
    /// The command of a replay that writes a file.
    pub(crate) fn of(replay: &Replay, output: &Path) -> CommandLine {
        let job = &replay.job;
        let mut line = CommandLine { command: job.task.name(), ..CommandLine::default() };
        for option in OPTIONS {
            match option.kind() {
                _ if option.name() == "image" => {}
                JobOptionKind::Switch if option.texts(job).is_empty() => {}
                JobOptionKind::Switch => line.flags.push((option.name().to_owned(), None)),
                // Some values may begin with a minus sign, so each is joined to its flag.
                _ => option.texts(job).into_iter().for_each(|text| line.push(option.name(), text)),
            }
        }
        if job.prompt.is_empty() {
            line.push("prompt", "");
        }
        line.image = job.task.image().map(|image| image.path().to_owned());
        match &replay.layout {
            ReplayLayout::Grid(axes) => {
                line.command = "grid";
                for (name, axis) in ["x", "y"].into_iter().zip(axes) {
                    axis.iter().for_each(|axis| line.push(name, axis.to_string()));
                }
            }
            ReplayLayout::ContactSheet => line.flags.push(("grid".to_owned(), None)),
            _ => {}
        }
        line.push("output", output);
        line
    }

    fn push(&mut self, name: &str, value: impl Into<OsString>) {
        self.flags.push((name.to_owned(), Some(value.into())));
    }

    /// Reads the line with further flags as the program reads its own.
    pub(crate) fn read(&self, further: &[OsString]) -> Result<Args, UsageError> {
        Args::read_words(self.words(further))
    }

    /// The options of a job that nobody gave, also not in further flags.
    pub(crate) fn implied(&self, job: &Job, further: &[OsString]) -> BTreeSet<String> {
        let by_hand: Vec<String> = further.iter().filter_map(|word| self.long_name(word)).collect();
        job.implied.iter().filter(|name| !by_hand.contains(name)).cloned().collect()
    }

    /// The words of the line, with further flags that take the place of those of the same name.
    fn words(&self, further: &[OsString]) -> Vec<OsString> {
        let taken: Vec<String> = further.iter().filter_map(|word| self.long_name(word)).collect();
        let mut words: Vec<OsString> = vec!["latent".into(), self.command.into()];
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
        let command = Args::command();
        let mut arguments = command.find_subcommand(self.command)?.get_arguments();
        Some(arguments.find(|arg| arg.get_short() == Some(short))?.get_long()?.to_owned())
    }

    /// The line with further flags, as a person types it in a shell.
    pub(crate) fn quoted(&self, further: &[OsString]) -> String {
        let mut line = self.clone();
        for (name, value) in &mut line.flags {
            // A person's prompt may stand for a file.
            if let Some(text) = value.as_mut().filter(|_| PROMPTS.contains(&name.as_str()))
                && let Some(words) = text.to_str().map(as_word)
            {
                *text = words.into();
            }
        }
        quoted(&line.words(further))
    }
}

/// Words as a person types them in a shell.
fn quoted(words: &[OsString]) -> String {
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
    fn flags_by_hand_take_the_place_of_those_of_the_file() {
        let mut line = CommandLine { command: "img2img", ..CommandLine::default() };
        line.push("steps", "20");
        line.push("seed", "-5");
        line.flags.push(("low-memory".to_owned(), None));
        line.image = Some("-a b.png".into());
        let words = line.words(&["--steps=30".into(), "-s".into(), "6".into()]);
        assert_eq!(words, ["latent", "img2img", "--low-memory", "--steps=30", "-s", "6", "--", "-a b.png"]);
        assert_eq!(quoted(&words[5..]), "6 -- '-a b.png'");
        line.push("prompt", "@p.txt");
        assert!(line.quoted(&[]).contains("'--prompt= @p.txt'"), "{}", line.quoted(&[]));
        assert_eq!(quoted(&["it's".into(), "".into()]), r"'it'\''s' ''");
    }
}
