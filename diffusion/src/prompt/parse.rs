//! Emphasis: the brackets of a prompt.

/// A segment of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Text with one weight.
    Text {
        /// The text.
        text: String,
        /// Its weight.
        weight: f64,
    },
    /// The end of a chunk.
    Break,
}

/// A round bracket multiplies the weight by this, a square one divides it.
const STEP: f64 = 1.1;
/// Brackets nested deeper have no effect: 1.1 to this power is 4e10. The bound keeps the time linear.
const MAX_DEPTH: usize = 256;
const BREAK: &str = "BREAK";
/// The weight with which the webui marks a break. Brackets around a break change the weight, and make it a word.
const BREAK_WEIGHT: f64 = -1.0;
/// Maximum weight. Without it, products of many large factors would become infinite, or NaN where one is 0.
const MAX_WEIGHT: f64 = 1e12;
/// Characters with a meaning.
const SPECIAL: [char; 6] = ['\\', '(', ')', '[', ']', ':'];

/// Splits a prompt into segments of one weight each, at least one. Any text is a valid prompt: a bracket that is not closed
/// reaches to the end, a closing bracket without an opening one is an ordinary character.
#[must_use]
pub fn parse(prompt: &str) -> Vec<Segment> {
    let mut parser = EmphasisParser::default();
    let mut rest = prompt;
    while !rest.is_empty() {
        rest = &rest[parser.step(rest)..];
    }
    parser.finish()
}

#[derive(Default)]
struct EmphasisParser {
    /// Texts and their weights so far; a break is [`BREAK`] of weight [`BREAK_WEIGHT`].
    out: Vec<(String, f64)>,
    /// For each open bracket, the first segment inside; `None` if it is nested too deeply.
    round: Vec<Option<usize>>,
    square: Vec<Option<usize>>,
}

impl EmphasisParser {
    /// Parses the beginning of `rest`, which is not empty; returns its length in bytes.
    fn step(&mut self, rest: &str) -> usize {
        let mut chars = rest.chars();
        match chars.next() {
            Some('\\') => {
                let escaped = chars.next().filter(|c| matches!(c, '(' | ')' | '[' | ']' | '\\'));
                self.out.push((escaped.map(String::from).unwrap_or_default(), 1.0));
                1 + escaped.map_or(0, char::len_utf8)
            }
            Some('(') => {
                let start = self.start();
                self.round.push(start);
                1
            }
            Some('[') => {
                let start = self.start();
                self.square.push(start);
                1
            }
            Some(')') if !self.round.is_empty() => {
                let start = self.round.pop().flatten();
                self.scale(start, STEP);
                1
            }
            Some(']') if !self.square.is_empty() => {
                let start = self.square.pop().flatten();
                self.scale(start, 1.0 / STEP);
                1
            }
            Some(':') => match weight_and_bracket(rest) {
                Some((len, weight)) if !self.round.is_empty() => {
                    let start = self.round.pop().flatten();
                    self.scale(start, weight);
                    len
                }
                // Without a bracket to close, all of it is text.
                Some((len, _)) => self.text(&rest[..len]),
                None => self.text(":"),
            },
            Some(c @ (')' | ']')) => self.text(c.encode_utf8(&mut [0; 4])),
            _ => self.text(&rest[..rest.find(SPECIAL).unwrap_or(rest.len())]),
        }
    }

    fn start(&self) -> Option<usize> {
        (self.round.len() + self.square.len() < MAX_DEPTH).then_some(self.out.len())
    }

    fn scale(&mut self, start: Option<usize>, factor: f64) {
        for (_, weight) in self.out.iter_mut().skip(start.unwrap_or(usize::MAX)) {
            *weight = (*weight * factor).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        }
    }

    fn text(&mut self, text: &str) -> usize {
        let mut rest = text;
        while let Some((before, after)) = split_break(rest) {
            self.out.push((before.to_owned(), 1.0));
            self.out.push((BREAK.to_owned(), BREAK_WEIGHT));
            rest = after;
        }
        self.out.push((rest.to_owned(), 1.0));
        text.len()
    }

    fn finish(mut self) -> Vec<Segment> {
        for start in std::mem::take(&mut self.round) {
            self.scale(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.scale(start, 1.0 / STEP);
        }
        // Adjacent texts of the same weight are one segment.
        let mut joined: Vec<(String, f64)> = Vec::new();
        for (text, weight) in self.out {
            match joined.last_mut() {
                Some((before, same)) if *same == weight => before.push_str(&text),
                _ => joined.push((text, weight)),
            }
        }
        if joined.is_empty() {
            joined.push((String::new(), 1.0));
        }
        let segment = |(text, weight): (String, f64)| match weight {
            BREAK_WEIGHT if text == BREAK => Segment::Break,
            _ => Segment::Text { text, weight },
        };
        joined.into_iter().map(segment).collect()
    }
}

/// The length and the number of `:1.3)` at the beginning of a text; white space is allowed around the number.
fn weight_and_bracket(text: &str) -> Option<(usize, f64)> {
    let inside = text.strip_prefix(':')?.trim_start();
    let sign = usize::from(inside.starts_with(['+', '-']));
    let digits =
        inside[sign..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(inside.len() - sign);
    let (number, after) = inside.split_at(sign + digits);
    let after = after.trim_start().strip_prefix(')')?;
    let number = number.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some((text.len() - after.len(), number))
}

/// The text before and after the first `BREAK` that is a word of its own, without the white space around it.
fn split_break(text: &str) -> Option<(&str, &str)> {
    split_word(text, BREAK).map(|(before, after)| (before.trim_end(), after.trim_start()))
}

/// The text before and after the first `mark` that is a word of its own.
pub(super) fn split_word<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(mark).find_map(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + mark.len()..]);
        let alone = !before.ends_with(is_word) && !after.starts_with(is_word);
        alone.then_some((before, after))
    })
}
