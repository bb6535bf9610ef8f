//! Command lines: every command with every odd path for each of its flags and places, odd values, and two odd things at once.

use super::place::odd_paths;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Values that few flags can mean.
const ODD_VALUES: [&str; 16] = [
    "",
    "0",
    "-1",
    "1",
    "nan",
    "-inf",
    "1e308",
    "4294967296",
    "18446744073709551616",
    "0.5",
    "1,5",
    "0x10",
    "\u{664}",
    " 7",
    "a\u{202e}b\nc",
    LONG,
];
/// More digits than any number has.
const LONG: &str =
    "99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999";
/// Flags that only stand beside others.
const COMPANIONS: [(&str, &[&str]); 6] = [
    ("control-image", &["--control-net=input.safetensors"]),
    ("control-", &["--control-net=input.safetensors", "--control-image=input.png"]),
    ("ip-adapter", IMAGE_PROMPT),
    ("image-encoder", IMAGE_PROMPT),
    ("hires-", &["--hires"]),
    ("preview-interval", &["--preview=shown.png"]),
];
/// An image prompt.
const IMAGE_PROMPT: &[&str] =
    &["--ip-adapter=input.safetensors", "--ip-adapter-image=input.png", "--image-encoder=input.safetensors"];
/// What makes an image small and soon drawn.
const SMALL: [&str; 3] = ["--width=8", "--height=8", "--steps=1"];

/// A command with what it needs to succeed.
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// Words by place; those that are files end in an extension.
    words: &'static [&'static str],
    flags: Vec<&'static str>,
}

/// All commands.
pub(super) fn verbs() -> Vec<Verb> {
    let small = |more: &[&'static str]| [&SMALL[..], more].concat();
    let verb = |name, words, flags: &[&'static str]| Verb { name, words, flags: flags.to_vec() };
    let drawing = |name, words, flags: &[&'static str]| Verb { name, words, flags: small(flags) };
    vec![
        drawing("txt2img", &["a cat"], &["--seed=1"]),
        drawing("img2img", &["input.png", "a cat"], &["--seed=1"]),
        verb("inpaint", &["input.png", "mask.png", "a cat"], &["--seed=1", "--steps=1"]),
        verb("outpaint", &["input.png", "a cat"], &["--seed=1", "--steps=1", "--left=8"]),
        drawing("edit", &["input.png", "a cat"], &["--seed=1", "--model=edit.safetensors"]),
        drawing("grid", &["a cat"], &["--seed=1", "--x=cfg-scale=1,2"]),
        verb("upscale", &["input.png"], &[]),
        verb("replay", &["input.png"], &[]),
        verb("metadata", &["input.png"], &[]),
        verb("inspect", &["input.safetensors"], &[]),
        verb("convert", &["input.safetensors", "out.safetensors"], &[]),
        verb("tokens", &["a cat"], &[]),
        verb("models", &[], &[]),
        verb("devices", &[], &[]),
        verb("samplers", &[], &[]),
        verb("doctor", &[], &[]),
        verb("bench", &[], &["--stage=text", "--runs=1"]),
        verb("completions", &["bash"], &[]),
        verb("man", &[], &["--output=folder.png"]),
    ]
}

/// A flag as a command's help shows it.
#[derive(Clone, Debug)]
struct HelpFlag {
    name: String,
    /// The name of its value, if it has one.
    value: Option<String>,
}

impl HelpFlag {
    fn is_path(&self) -> bool {
        let parts = ["FILE", "DIR", "MODEL"];
        self.value.as_deref().is_some_and(|value| value.split(['|', '[']).any(|part| parts.contains(&part)))
    }

    /// The extension of the files that it takes.
    fn extension(&self) -> &'static str {
        let images = ["output", "preview", "mask", "image", "control-image", "ip-adapter-image"];
        if images.contains(&&self.name[..]) { "png" } else { "safetensors" }
    }

    /// Whether the command writes to it.
    fn is_output(&self) -> bool {
        ["output", "preview"].contains(&&self.name[..])
    }
}

/// The flags in a command's help. What begins further to the right is what a flag means.
fn flags(help: &str) -> Vec<HelpFlag> {
    let flag = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let long = match indent {
            2 => line.split_once(", ")?.1,
            6 => line.trim_start(),
            _ => return None,
        };
        let long = long.strip_prefix("--")?;
        let name: String = long.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let value = long.split_once(" <").and_then(|(_, rest)| Some(rest.split_once('>')?.0.to_owned()));
        Some(HelpFlag { name, value })
    };
    help.lines().filter_map(flag).filter(|flag| flag.name != "help").collect()
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verb: &'static str,
    pub(super) flags: Vec<OsString>,
    pub(super) words: Vec<OsString>,
}

impl Line {
    fn of(verb: &Verb) -> Line {
        let own = |words: &[&str]| words.iter().map(OsString::from).collect();
        Line { verb: verb.name, flags: own(&verb.flags), words: own(verb.words) }
    }

    /// Gives a flag, with what it stands beside, in place of the one that is there.
    fn with(mut self, name: &str, value: Option<&OsStr>) -> Line {
        let beside = COMPANIONS.iter().find(|(prefix, _)| name.starts_with(prefix) && name != "control-net");
        let beside = beside.map_or(&[][..], |(_, flags)| flags);
        if name == "control-net" {
            self = self.with("control-image", Some(OsStr::new("input.png")));
        }
        for flag in beside.iter().filter(|flag| !flag.starts_with(&format!("--{name}="))) {
            let known = flag.split('=').next().unwrap();
            self.flags.retain(|flag| !flag.to_string_lossy().starts_with(known));
            self.flags.push(flag.into());
        }
        let mut flag = OsString::from(format!("--{name}"));
        let prefix = format!("--{name}=");
        self.flags.retain(|flag| !flag.to_string_lossy().starts_with(&prefix));
        if let Some(value) = value {
            flag.push("=");
            flag.push(value);
        }
        self.flags.push(flag);
        self
    }

    fn with_word(mut self, place: usize, word: &OsStr) -> Line {
        word.clone_into(&mut self.words[place]);
        self
    }

    /// The words that the program is started with.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from(self.verb)];
        arguments.extend(self.flags.iter().cloned());
        // What follows two dashes are a drawing's flags.
        if !self.words.is_empty() && self.verb != "replay" {
            arguments.push("--".into());
        }
        arguments.extend(self.words.iter().cloned());
        arguments
    }

    /// The value of a flag.
    pub(super) fn value(&self, name: &str) -> Option<OsString> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let prefix = format!("--{name}=");
        let value = |flag: &OsString| flag.as_bytes().strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
        self.flags.iter().find_map(value).map(OsString::from_vec)
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }
}

/// As a person types it in a shell.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::ffi::OsStrExt;
        f.write_str("latent")?;
        for word in self.arguments() {
            match word.to_str() {
                Some(text)
                    if !text.is_empty()
                        && text
                            .chars()
                            .all(|c| c.is_ascii_graphic() && !"'\"|&;<>()$`*?[]#~{}!\\".contains(c)) =>
                {
                    write!(f, " {text}")?;
                }
                _ => write!(f, " $'{}'", word.as_bytes().escape_ascii())?,
            }
        }
        Ok(())
    }
}

/// Every command line. `help` gives the help of a command.
pub(super) fn all(help: impl Fn(&str) -> String) -> Vec<Line> {
    let mut lines = Vec::new();
    let common = flags(&help("txt2img"));
    for verb in verbs() {
        let all = flags(&help(verb.name));
        let is_own = |flag: &HelpFlag| {
            verb.name == "txt2img" || flag.is_output() || !common.iter().any(|known| known.name == flag.name)
        };
        lines.push(Line::of(&verb));
        for flag in &all {
            // What all commands that draw have is tried wholly with one, and here and there with the others.
            let every = if is_own(flag) { 1 } else { 7 };
            let (start, odd) = (lines.len(), odd_values(flag));
            let odd = odd.iter().enumerate().filter(|(at, _)| (at + start) % every == 0);
            lines.extend(odd.map(|(_, value)| Line::of(&verb).with(&flag.name, value.as_deref())));
        }
        words(&verb, &mut lines);
        outputs(&verb, &all, &mut lines);
        pairs(&verb, &all, &mut lines);
    }
    lines
}

/// What a flag is tried with.
fn odd_values(flag: &HelpFlag) -> Vec<Option<OsString>> {
    match &flag.value {
        None => vec![None],
        Some(_) if flag.is_path() => {
            odd_paths(flag.extension()).into_iter().map(|(_, path)| Some(path)).collect()
        }
        Some(_) => ODD_VALUES.iter().map(|value| Some(value.into())).collect(),
    }
}

/// Odd paths where a command takes files by their places.
fn words(verb: &Verb, lines: &mut Vec<Line>) {
    for (place, word) in verb.words.iter().enumerate() {
        let extension = word.rsplit_once('.').map_or("png", |(_, extension)| extension);
        for (_, path) in odd_paths(extension) {
            lines.push(Line::of(verb).with_word(place, &path));
        }
    }
}

/// Odd outputs together with flags that change what is written.
fn outputs(verb: &Verb, all: &[HelpFlag], lines: &mut Vec<Line>) {
    let has = |name: &str| all.iter().any(|flag| flag.name == name);
    if verb.name == "convert" {
        let ways: [&[(&str, Option<&str>)]; 4] = [
            &[("force", None)],
            &[("force", None), ("layout", Some("folder"))],
            &[("layout", Some("folder"))],
            &[("layout", Some("single")), ("force", None), ("dtype", Some("f16"))],
        ];
        for way in ways {
            for (_, path) in odd_paths("safetensors").into_iter().chain(odd_paths("png")) {
                let line = Line::of(verb).with_word(1, &path);
                lines.push(
                    way.iter().fold(line, |line, (name, value)| line.with(name, value.map(OsStr::new))),
                );
            }
        }
        return;
    }
    if !has("batch-count") {
        return;
    }
    let ways: [&[(&str, Option<&str>)]; 3] = [
        &[("batch-count", Some("2"))],
        &[("batch-count", Some("2")), ("grid", None)],
        &[("preview", Some("-"))],
    ];
    for way in ways.into_iter().take(if verb.name == "txt2img" { 3 } else { 1 }) {
        for (_, path) in odd_paths("png") {
            let line = Line::of(verb).with("output", Some(&path));
            lines.push(way.iter().fold(line, |line, (name, value)| line.with(name, value.map(OsStr::new))));
        }
    }
    for name in [
        "{seed}.png",
        "full.png/{seed}.png",
        "{seed}/x.png",
        "pipe{seed}.png",
        "%03d.png",
        "%999999d.png",
        "a.jpg",
        "a.webp",
        "a.gif",
        "a",
    ] {
        lines.push(Line::of(verb).with("output", Some(OsStr::new(name))));
    }
}

/// Two odd things at once, chosen without chance.
fn pairs(verb: &Verb, all: &[HelpFlag], lines: &mut Vec<Line>) {
    let valued: Vec<_> = all.iter().filter(|flag| flag.value.is_some()).collect();
    let Some(output) = all.iter().find(|flag| flag.is_output()) else { return };
    for (at, flag) in valued.iter().enumerate().filter(|(_, flag)| !flag.is_output()) {
        let (outputs, values) = (odd_values(output), odd_values(flag));
        let [out, value] = [&outputs[(at * 7 + 3) % outputs.len()], &values[(at * 5 + 1) % values.len()]];
        lines.push(Line::of(verb).with(&output.name, out.as_deref()).with(&flag.name, value.as_deref()));
    }
}
