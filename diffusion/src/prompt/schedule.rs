//! Parts of a prompt that change from step to step.
//!
//! Brackets are parsed as balanced pairs. A pair whose contents are not a schedule stays in the text, as emphasis for
//! [`parse`](super::parse); an unbalanced bracket is an ordinary character, and so are all brackets open around it.

use crate::Error;
use std::collections::{BTreeSet, HashMap};

/// Schedules nested deeper are text. The bound limits recursion.
const MAX_DEPTH: usize = 64;
/// Maximum size in bytes of all the texts of one prompt.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Characters with a meaning.
const SPECIAL: [char; 7] = ['\\', '(', ')', '[', ']', ':', '|'];

/// The text of a prompt in each step of a run: `[from:to:when]` changes after a step, `[a|b|c]` with every step.
///
/// `when` is a number of steps, or, with a decimal point, a fraction of all steps: `[a:b:5]` is `a` in five steps, `[a:b:0.5]` in
/// half of them and `[a:b:1.0]` in all, `[a:b:0]` in none. `[to:when]` has no text before, `[from::when]` none after. Texts
/// may contain weights and further schedules; a backslash escapes the next character.
///
/// ```
/// use latent_diffusion::prompt::PromptSchedule;
/// let schedule = PromptSchedule::new("a [mountain:lake:0.25] at [dawn|dusk]", 8)?;
/// let texts: Vec<&str> = (1..=4).map(|step| schedule.at(step)).collect();
/// assert_eq!(texts, ["a mountain at dawn", "a mountain at dusk", "a lake at dawn", "a lake at dusk"]);
/// assert_eq!(schedule.texts().len(), 4);
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptSchedule {
    /// Each text once, in the order of its first step.
    texts: Vec<String>,
    /// The last step of each span, counted from 1, and the index of its text. The last span has no end.
    spans: Vec<(usize, usize)>,
}

impl PromptSchedule {
    /// Parses a prompt for a run of `steps` steps.
    ///
    /// # Errors
    /// [`Error::Setting`]: a prompt with more than four megabytes of different texts. A prompt that does not change may have
    /// any length.
    pub fn new(prompt: &str, steps: usize) -> Result<PromptSchedule, Error> {
        PromptSchedule::of_passes(prompt, steps, 0)
    }

    /// As [`PromptSchedule::new`], for a run of `first` steps and a second pass of `second` steps (the webui's hires fix).
    /// Numbers of steps count both passes, and fractions from 1 to 2 are of the second pass: `[a:b:1.5]` is `a` until half of
    /// it is done. `[a|b]` starts again with the second pass.
    ///
    /// # Errors
    /// As [`PromptSchedule::new`].
    pub fn of_passes(prompt: &str, first: usize, second: usize) -> Result<PromptSchedule, Error> {
        let nodes = ScheduleParser::default().parse(prompt);
        let (mut schedule, mut known) =
            (PromptSchedule { texts: Vec::new(), spans: Vec::new() }, HashMap::new());
        let mut bytes = 0;
        let passes =
            [Pass { past: 0, parts: 0.0, steps: first }, Pass { past: first, parts: 1.0, steps: second }];
        let mut moments = Vec::new();
        for pass in passes.iter().take(if second == 0 { 1 } else { 2 }) {
            let mut ends = BTreeSet::from([pass.steps]);
            collect_ends(&nodes, pass, &mut ends);
            moments.extend(ends.into_iter().map(|end| (pass, end)));
        }
        for (pass, end) in moments {
            let mut text = String::new();
            write(&nodes, end, pass, &mut text);
            let end = pass.past + end;
            let next = known.len();
            let place = *known.entry(text).or_insert_with_key(|text| {
                bytes += text.len();
                schedule.texts.push(text.clone());
                next
            });
            if schedule.texts.len() > 1 && bytes > MAX_TEXT_BYTES {
                let reason = format!(
                    "its changing parts make more than {} MB of texts in {} steps; shorten it",
                    MAX_TEXT_BYTES >> 20,
                    first + second
                );
                return Err(Error::setting(crate::Setting::Prompt, reason));
            }
            match schedule.spans.last_mut() {
                Some((until, same)) if *same == place => *until = end,
                _ => schedule.spans.push((end, place)),
            }
        }
        Ok(schedule)
    }

    /// The text of a step, counted from 1. Steps past the end have the last text.
    #[must_use]
    pub fn at(&self, step: usize) -> &str {
        &self.texts[self.place(step)]
    }

    /// The index in [`PromptSchedule::texts`] of the text of a step.
    #[must_use]
    pub fn place(&self, step: usize) -> usize {
        let span = self.spans.iter().find(|(until, _)| step <= *until);
        span.or(self.spans.last()).map_or(0, |(_, place)| *place)
    }

    /// All texts, each once.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The last step of each span of steps, and its text.
    pub fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        self.spans.iter().map(|(until, place)| (*until, self.texts[*place].as_str()))
    }
}

/// A node of a parsed prompt.
enum Node<'a> {
    Text(&'a str),
    /// One text up to a step, another after it.
    Switch {
        before: Vec<Node<'a>>,
        after: Vec<Node<'a>>,
        when: When,
    },
    /// The next text with every step.
    Alternate(Vec<Vec<Node<'a>>>),
}

#[derive(Clone, Copy)]
enum When {
    Step(f64),
    /// A fraction of all steps.
    Part(f64),
}

impl When {
    /// A number, with white space around it: a fraction if it has a decimal point.
    fn parse(text: &str) -> Option<When> {
        let text = text.trim();
        let is_number = text.contains(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E'));
        let value: f64 = is_number.then(|| text.parse().ok())??;
        Some(if text.contains('.') { When::Part(value) } else { When::Step(value) })
    }

    /// The last step of a pass before the change; 0 if there is no such step.
    fn step(self, pass: &Pass) -> usize {
        let step = match self {
            When::Step(step) => step - pass.past as f64,
            When::Part(part) => (part - pass.parts) * pass.steps as f64,
        };
        // Truncated as in the webui; negative numbers become 0.
        (step as usize).min(pass.steps)
    }
}

/// One sampling pass of a run.
struct Pass {
    /// Number of steps before it, and the fraction at which it starts.
    past: usize,
    parts: f64,
    steps: usize,
}

/// An open bracket.
struct Frame {
    is_square: bool,
    /// The index of its item.
    start: usize,
    /// The indices of the separators inside, `:` and `|`.
    colons: Vec<usize>,
    bars: Vec<usize>,
    /// Depth of the schedules nested inside.
    depth: usize,
}

#[derive(Default)]
struct ScheduleParser<'a> {
    /// Nodes so far, those of open brackets included.
    items: Vec<Node<'a>>,
    open: Vec<Frame>,
}

impl<'a> ScheduleParser<'a> {
    fn parse(mut self, prompt: &'a str) -> Vec<Node<'a>> {
        let mut rest = prompt;
        while let Some(first) = rest.chars().next() {
            let len = match first {
                '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                _ if SPECIAL.contains(&first) => 1,
                _ => rest.find(SPECIAL).unwrap_or(rest.len()),
            };
            let (text, after) = rest.split_at(len);
            self.take(first, text);
            rest = after;
        }
        self.items
    }

    fn take(&mut self, first: char, text: &'a str) {
        let (place, mut is_schedule) = (self.items.len(), false);
        match (first, self.open.last_mut()) {
            ('(' | '[', _) => self.open.push(Frame {
                is_square: first == '[',
                start: place,
                colons: Vec::new(),
                bars: Vec::new(),
                depth: 0,
            }),
            (':', Some(frame)) => frame.colons.push(place),
            ('|', Some(frame)) => frame.bars.push(place),
            (')' | ']', Some(frame)) if frame.is_square == (first == ']') => {
                is_schedule = self.close();
            }
            // Unbalanced, so no bracket around it is balanced.
            (')' | ']', _) => self.open.clear(),
            _ => {}
        }
        if !is_schedule {
            self.items.push(Node::Text(text));
        }
    }

    /// Closes the innermost bracket, and replaces its contents by a schedule if they are one and not nested too deeply.
    fn close(&mut self) -> bool {
        let Some(frame) = self.open.pop() else { return false };
        let node = if frame.depth < MAX_DEPTH { self.schedule(&frame) } else { None };
        let depth = frame.depth + usize::from(node.is_some());
        if let Some(around) = self.open.last_mut() {
            around.depth = around.depth.max(depth);
        }
        let is_schedule = node.is_some();
        self.items.extend(node);
        is_schedule
    }

    /// Removes a bracket with its contents from the items if they are a schedule.
    fn schedule(&mut self, frame: &Frame) -> Option<Node<'a>> {
        let when = match (&frame.colons[..], &frame.bars[..]) {
            _ if !frame.is_square => return None,
            ([], [_, ..]) => None,
            ([last] | [_, last], []) => match &self.items[last + 1..] {
                [Node::Text(text)] => Some(When::parse(text)?),
                _ => return None,
            },
            _ => return None,
        };
        let mut parts = Vec::new();
        for sign in frame.bars.iter().chain(&frame.colons).rev() {
            parts.push(self.items.split_off(sign + 1));
            self.items.truncate(*sign);
        }
        parts.push(self.items.split_off(frame.start + 1));
        self.items.truncate(frame.start);
        let Some(when) = when else {
            parts.reverse();
            return Some(Node::Alternate(parts));
        };
        // The last part is the number.
        let mut parts = parts.into_iter().skip(1);
        let after = parts.next().unwrap_or_default();
        Some(Node::Switch { before: parts.next().unwrap_or_default(), after, when })
    }
}

/// Adds the steps after which the text may change.
fn collect_ends(nodes: &[Node<'_>], pass: &Pass, ends: &mut BTreeSet<usize>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Switch { before, after, when } => {
                ends.extend(Some(when.step(pass)).filter(|step| *step >= 1));
                collect_ends(before, pass, ends);
                collect_ends(after, pass, ends);
            }
            Node::Alternate(parts) => {
                // Once is enough: many alternations in many steps would take their product.
                if ends.len() < pass.steps {
                    ends.extend(1..=pass.steps);
                }
                parts.iter().for_each(|part| collect_ends(part, pass, ends));
            }
        }
    }
}

/// Writes the text of a step of a pass.
fn write(nodes: &[Node<'_>], step: usize, pass: &Pass, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Switch { before, after, when } => {
                write(if step <= when.step(pass) { before } else { after }, step, pass, out);
            }
            Node::Alternate(parts) => write(&parts[step.saturating_sub(1) % parts.len()], step, pass, out),
        }
    }
}
