//! Random prompts: `__name__` becomes a line of a file, `{a|b}` one of its options.

use super::{MAX_PROMPT_BYTES, check_bytes};
use crate::{Error, Setting};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum nesting of wildcards and choices.
const MAX_DEPTH: usize = 16;
/// Maximum number of random draws of a prompt: lines that name each other could grow without end.
const MAX_DRAWS: usize = 10_000;
/// Maximum size in bytes of a file.
const MAX_FILE_BYTES: u64 = 16 << 20;
const MARK: &str = "__";
/// Beginnings of the tags of LoRAs.
const LORA: [&str; 2] = ["<lora:", "<lyco:"];

/// A folder of wildcard files.
///
/// `__name__` becomes a line of `name.txt`, `__animals/cats__` one of `cats.txt` in the folder `animals`; blank lines and
/// lines that start with `#` are skipped. `{a|b|c}` becomes one of its options, `{2$$a|b|c}` two different ones, separated by
/// a comma. Both may be nested. Braces without a bar, and escaped characters, stay as they are.
///
/// ```
/// use latent_diffusion::prompt::Wildcards;
/// # let folder = tempfile::tempdir().unwrap();
/// std::fs::write(folder.path().join("colour.txt"), "# warm\nred\n\norange\n").unwrap();
/// let mut wildcards = Wildcards::open(folder.path())?;
/// let [prompt, negative] = wildcards.resolve(["a __colour__ {fox|cat}", "blurry"], 7)?;
/// assert!(["a red fox", "a red cat", "a orange fox", "a orange cat"].contains(&prompt.as_str()));
/// assert_eq!(wildcards.resolve(["a __colour__ {fox|cat}", ""], 7)?[0], prompt);
/// assert_eq!(negative, "blurry");
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
#[derive(Debug)]
pub struct Wildcards {
    folder: PathBuf,
    /// The lines of the files read so far, by name.
    lines: HashMap<String, Vec<String>>,
}

impl Wildcards {
    /// Opens a folder. A file is read once, when a prompt first names it.
    ///
    /// # Errors
    /// [`Error::Setting`]: not a folder.
    pub fn open(folder: &Path) -> Result<Wildcards, Error> {
        let wrong = |why: String| wrong(format!("{}: {why}", folder.display()));
        let real = folder.canonicalize().map_err(|error| wrong(error.to_string()))?;
        if !real.is_dir() {
            return Err(wrong("is not a folder; give the one that contains the .txt files".into()));
        }
        Ok(Wildcards { folder: real, lines: HashMap::new() })
    }

    /// The prompts of some templates for an image's seed. They depend on the seed and the template alone; each template has
    /// its own random numbers.
    ///
    /// # Errors
    /// [`Error::Setting`]: a name without a file, or that leads out of the folder; a file that is empty, too large, or not
    /// UTF-8; wildcards that refer to each other in a circle; a template, a line or a prompt of more than
    /// [`MAX_PROMPT_BYTES`].
    pub fn resolve<const N: usize>(&mut self, templates: [&str; N], seed: u64) -> Result<[String; N], Error> {
        let mut out = [const { String::new() }; N];
        templates.iter().try_for_each(|template| check_bytes(template, Setting::Prompt))?;
        for (stream, (out, template)) in (0..).zip(out.iter_mut().zip(templates)) {
            let mut draws = Draws { state: mix(mix(seed).wrapping_add(stream)), left: MAX_DRAWS };
            self.write(template, 0, &mut draws, out)?;
        }
        Ok(out)
    }

    fn write(&mut self, text: &str, depth: usize, draws: &mut Draws, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(wrong(format!(
                "they are nested more than {MAX_DEPTH} deep, or refer to each other in a circle"
            )));
        }
        let choices = choices(text);
        let mut at = 0;
        while let Some(first) = text[at..].chars().next() {
            let rest = &text[at..];
            let mut len = first.len_utf8();
            match first {
                '\\' => len += rest[1..].chars().next().map_or(0, char::len_utf8),
                // A file name may contain such characters.
                '<' if LORA.iter().any(|start| rest.starts_with(start)) => {
                    len = rest.find('>').unwrap_or(rest.len());
                }
                '{' if choices.contains_key(&at) => {
                    let choice = &choices[&at];
                    self.choose(&choice.parts(text), depth, draws, out)?;
                    at = choice.end;
                    continue;
                }
                '_' => {
                    if let Some(name) = name(rest) {
                        let line = self.line(name, draws)?;
                        self.write(&line, depth + 1, draws, out)?;
                        at += name.len() + 2 * MARK.len();
                        continue;
                    }
                }
                _ => {}
            }
            if out.len() + len > MAX_PROMPT_BYTES {
                return Err(wrong(format!("a prompt becomes larger than {} KiB", MAX_PROMPT_BYTES >> 10)));
            }
            out.push_str(&rest[..len]);
            at += len;
        }
        Ok(())
    }

    /// One of the options, or as many as the number in front of the first one says.
    fn choose(
        &mut self,
        parts: &[&str],
        depth: usize,
        draws: &mut Draws,
        out: &mut String,
    ) -> Result<(), Error> {
        let mut parts = parts.to_vec();
        let mut count = 1;
        if let Some((number, first)) = parts[0].split_once("$$")
            && let Ok(number) = number.trim().parse::<usize>()
        {
            count = number.min(parts.len());
            parts[0] = first;
        }
        for i in 0..count {
            let part = parts.remove(draws.below(parts.len())?);
            if i > 0 {
                out.push_str(", ");
            }
            self.write(part, depth + 1, draws, out)?;
        }
        Ok(())
    }

    /// A line of a file.
    fn line(&mut self, name: &str, draws: &mut Draws) -> Result<String, Error> {
        if !self.lines.contains_key(name) {
            self.lines.insert(name.to_owned(), self.read(name)?);
        }
        let lines = &self.lines[name];
        Ok(lines[draws.below(lines.len())?].clone())
    }

    fn read(&self, name: &str) -> Result<Vec<String>, Error> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        if !name.split('/').all(is_plain) || name.contains(['\\', ':', '*']) {
            return Err(wrong(format!(
                "__{name}__ is not the name of a file below the folder, such as __cats__ or __animals/cats__"
            )));
        }
        let path = self.folder.join(format!("{name}.txt"));
        let wrong = |why: &str| wrong(format!("__{name}__: {} {why}", path.display()));
        // A link may lead out of the folder.
        let real = path.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("does not exist"),
            _ => wrong(&format!("cannot be read: {error}")),
        })?;
        if !real.starts_with(&self.folder) {
            return Err(wrong("leads out of the folder"));
        }
        let about = fs::metadata(&real).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        if !about.is_file() {
            return Err(wrong("is not a file"));
        }
        if about.len() > MAX_FILE_BYTES {
            return Err(wrong(&format!("is larger than {} MB", MAX_FILE_BYTES >> 20)));
        }
        let bytes = fs::read(&real).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))?;
        let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().map(str::trim);
        let lines: Vec<String> =
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
        // It is taken apart whenever it is drawn.
        if lines.iter().any(|line| line.len() > MAX_PROMPT_BYTES) {
            return Err(wrong(&format!("has a line of more than {} KiB", MAX_PROMPT_BYTES >> 10)));
        }
        if lines.is_empty() { Err(wrong("contains no lines")) } else { Ok(lines) }
    }
}

/// The name of the wildcard at the beginning of a text. A name has no spaces and no other special characters.
fn name(text: &str) -> Option<&str> {
    let inside = text.strip_prefix(MARK)?;
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '\\' | ':' | '*');
    // Before all else, so that a row of underscores is not searched from each of them.
    if inside.starts_with('_') {
        return None;
    }
    let name = &inside[..inside.find(MARK)?];
    (!name.is_empty() && name.chars().all(is_part)).then_some(name)
}

/// Braces with bars inside.
struct BracedChoice {
    start: usize,
    bars: Vec<usize>,
    /// One past the closing brace.
    end: usize,
}

impl BracedChoice {
    /// The texts between the bars.
    fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut from = self.start + 1;
        let mut parts = Vec::new();
        for end in self.bars.iter().copied().chain([self.end - 1]) {
            parts.push(&text[from..end]);
            from = end + 1;
        }
        parts
    }
}

/// All choices of a text by their start. A bar between square brackets belongs to those.
fn choices(text: &str) -> HashMap<usize, BracedChoice> {
    let (mut found, mut open): (_, Vec<(char, BracedChoice)>) = (HashMap::new(), Vec::new());
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '{' | '[' => open.push((c, BracedChoice { start: at, bars: Vec::new(), end: 0 })),
            '|' => open.last_mut().into_iter().for_each(|(_, choice)| choice.bars.push(at)),
            ']' if open.last().is_some_and(|(bracket, _)| *bracket == '[') => drop(open.pop()),
            '}' => {
                while let Some((bracket, choice)) = open.pop() {
                    if bracket == '{' {
                        if !choice.bars.is_empty() {
                            found.insert(choice.start, BracedChoice { end: at + 1, ..choice });
                        }
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Random numbers of a prompt (SplitMix64; Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
struct Draws {
    state: u64,
    left: usize,
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Draws {
    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> Result<usize, Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            wrong(format!(
                "a prompt takes more than {MAX_DRAWS} random draws; they refer to each other too often"
            ))
        })?;
        let number = mix(self.state);
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        Ok(((u128::from(number) * limit as u128) >> 64) as usize)
    }
}

fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(GOLDEN_GAMMA);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn wrong(reason: String) -> Error {
    Error::setting(Setting::Wildcards, reason)
}
