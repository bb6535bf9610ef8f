//! ComfyUI: the texts and numbers that links of a graph lead to, through nodes that pass them on.
//!
//! What goes through other nodes is named, so that nothing is missing without a word.

use super::comfy_graph::{Graph, GraphInput};
use super::comfy_nodes::{NodeRule, is_encoder, rule};
use crate::text::clipped;
use std::borrow::Cow;
use std::collections::HashSet;

/// Maximum size in bytes of the texts that nodes make: some double what they are given.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Maximum number of nodes in a row that pass on a text or a number.
const MAX_CHAIN: usize = 100;
/// Maximum number of lines of what is not followed, before one that there is more, and of characters of a class and a name
/// in them.
const MAX_NOTES: usize = 20;
const MAX_CLASS_CHARS: usize = 60;
const MAX_ID_CHARS: usize = 20;

/// Inputs that are a text, or a link to one.
const TEXTS: [&str; 12] = [
    "text",
    "text_g",
    "text_l",
    "prompt",
    "string",
    "value",
    "populated_text",
    "wildcard_text",
    "positive_prompt",
    "clip_l",
    "t5xxl",
    "text_a",
];
/// Inputs that are a number, or a link to one, of a node that no rule is for.
const NUMBERS: [&str; 6] = ["value", "int", "float", "number", "seed", "Value"];
/// Inputs that lead away from the texts of a conditioning.
const ELSEWHERE: [&str; 14] = [
    "clip",
    "model",
    "vae",
    "latent",
    "latent_image",
    "samples",
    "pixels",
    "image",
    "images",
    "control_net",
    "mask",
    "clip_vision",
    "clip_vision_output",
    "style_model",
];

/// Which of a sampler's two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PromptSide {
    Positive,
    Negative,
}

impl PromptSide {
    fn input(self) -> &'static str {
        match self {
            PromptSide::Positive => "positive",
            PromptSide::Negative => "negative",
        }
    }

    fn name(self) -> &'static str {
        match self {
            PromptSide::Positive => "prompt",
            PromptSide::Negative => "negative prompt",
        }
    }
}

/// Follows links, and notes what it cannot follow.
#[derive(Debug)]
pub(super) struct LinkFollower<'g, 'a> {
    graph: &'g Graph<'a>,
    /// Where a setting comes from that the metadata do not say, or say in part.
    pub(super) not_followed: Vec<String>,
    /// Bytes of texts that were made.
    bytes: usize,
}

impl<'g, 'a> LinkFollower<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>) -> LinkFollower<'g, 'a> {
        LinkFollower { graph, not_followed: Vec::new(), bytes: 0 }
    }

    fn note(&mut self, what: &str, node: usize) {
        let node = self.graph.node(node);
        let (class, id) = (clipped(node.class, MAX_CLASS_CHARS), clipped(&node.id, MAX_ID_CHARS));
        let line = format!("{what} (through {class}, node {id})");
        if self.not_followed.len() > MAX_NOTES || self.not_followed.contains(&line) {
            return;
        }
        let is_last = self.not_followed.len() == MAX_NOTES;
        self.not_followed.push(if is_last { "more nodes".to_owned() } else { line });
    }

    /// The inputs of a node, each a step.
    fn inputs(&self, node: usize) -> impl Iterator<Item = (&'a str, GraphInput<'a>)> + use<'g, 'a> {
        let graph = self.graph;
        graph.node(node).inputs().take_while(|_| graph.step())
    }

    /// What there is too much of.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.bytes > MAX_TEXT_BYTES {
            return Err(format!("has a graph whose texts are more than {} MiB", MAX_TEXT_BYTES >> 20));
        }
        Ok(())
    }

    /// The input whose value a node passes on as its own.
    fn passed(&self, node: usize, depth: usize) -> Option<GraphInput<'a>> {
        let inputs = self.graph.node(node);
        match rule(inputs.class)? {
            NodeRule::Value(name) => inputs.input(name),
            NodeRule::FirstLink => {
                self.inputs(node).map(|(_, input)| input).find(|input| input.link().is_some())
            }
            NodeRule::Choice { number, prefix } => {
                let number = self.constant(inputs.input(number)?, depth + 1)?;
                inputs.input(&format!("{prefix}{number}"))
            }
            NodeRule::Condition { test, yes, no } => match &*self.constant(inputs.input(test)?, depth + 1)? {
                "true" => inputs.input(yes),
                "false" => inputs.input(no),
                _ => None,
            },
            _ => None,
        }
    }

    /// A value, or that which nodes pass on to a link.
    fn constant(&self, mut input: GraphInput<'a>, mut depth: usize) -> Option<Cow<'a, str>> {
        while depth < MAX_CHAIN && self.graph.step() {
            match input {
                GraphInput::Link(node) => input = self.passed(node, depth)?,
                _ => return input.plain(),
            }
            depth += 1;
        }
        None
    }

    /// The first value of these names that a node has, followed to where it comes from.
    pub(super) fn number(&mut self, node: usize, names: &[&str], what: &str) -> Option<String> {
        let graph = self.graph;
        let own = |node: usize| names.iter().find_map(|name| graph.node(node).input(name));
        let mut input = own(node)?;
        for depth in 0..MAX_CHAIN {
            let link = match input {
                GraphInput::Link(link) if graph.step() => link,
                GraphInput::Lost => {
                    self.note(what, node);
                    return None;
                }
                _ => return input.plain().map(Cow::into_owned),
            };
            // A node of settings has the same name for it.
            let known = own(link).or_else(|| self.passed(link, depth));
            if known.is_none() || rule(graph.node(link).class).is_none() && own(link).is_none() {
                self.note(what, link);
            }
            let guess = || NUMBERS.iter().find_map(|name| graph.node(link).input(name));
            input = known.or_else(guess)?;
        }
        self.note(what, node);
        None
    }

    /// The text that a node gives.
    fn text(&mut self, node: usize, what: &str, depth: usize) -> Option<String> {
        if depth > MAX_CHAIN || !self.graph.step() || self.bytes > MAX_TEXT_BYTES {
            self.note(what, node);
            return None;
        }
        let inputs = self.graph.node(node);
        let text = match rule(inputs.class) {
            Some(NodeRule::Join { prefix, separator, default }) => {
                self.joined(node, prefix, (separator, default), false, what, depth)
            }
            Some(NodeRule::JoinClean { prefix, separator, default }) => {
                self.joined(node, prefix, (separator, default), true, what, depth)
            }
            Some(NodeRule::StringFunction) => self.string_function(node, what, depth),
            Some(_) => match self.passed(node, depth) {
                Some(input) => self.part(node, input, what, depth),
                None => {
                    self.note(what, node);
                    None
                }
            },
            None => {
                self.note(what, node);
                let guess = TEXTS.iter().find_map(|name| inputs.input(name));
                guess.and_then(|input| self.part(node, input, what, depth))
            }
        };
        self.bytes += text.as_ref().map_or(0, String::len);
        text
    }

    /// The text of an input.
    fn part(&mut self, node: usize, input: GraphInput<'a>, what: &str, depth: usize) -> Option<String> {
        match input {
            GraphInput::Value(_) => input.plain().map(Cow::into_owned),
            GraphInput::Link(link) => self.text(link, what, depth + 1),
            GraphInput::Lost => {
                self.note(what, node);
                None
            }
        }
    }

    fn joined(
        &mut self,
        node: usize,
        prefix: &str,
        (separator, default): (&str, &str),
        clean: bool,
        what: &str,
        depth: usize,
    ) -> Option<String> {
        let graph = self.graph;
        let inputs = graph.node(node);
        let separator = match inputs.input(separator) {
            Some(input) => self.part(node, input, what, depth).unwrap_or_default(),
            None => default.to_owned(),
        };
        let separator = if clean && separator == "\\n" { "\n".to_owned() } else { separator };
        let trims =
            clean && inputs.input("clean_whitespace").and_then(GraphInput::plain).as_deref() == Some("true");
        let mut whole: Option<String> = None;
        for (_, input) in self.inputs(node).filter(|(name, _)| name.starts_with(prefix)) {
            let part = self.part(node, input, what, depth).unwrap_or_default();
            let part = if trims { part.trim() } else { &part };
            if clean && part.is_empty() {
                continue;
            }
            match &mut whole {
                Some(whole) => {
                    whole.push_str(&separator);
                    whole.push_str(part);
                }
                None => whole = Some(part.to_owned()),
            }
        }
        whole
    }

    fn string_function(&mut self, node: usize, what: &str, depth: usize) -> Option<String> {
        let inputs = self.graph.node(node);
        let mut part = |name: &str| {
            let input = inputs.input(name);
            let part = input.and_then(|input| self.part(node, input, what, depth)).unwrap_or_default();
            if part == "undefined" { String::new() } else { part }
        };
        let (a, b, c) = (part("text_a"), part("text_b"), part("text_c"));
        let is = |name: &str, value: &str| {
            inputs.input(name).and_then(GraphInput::plain).is_some_and(|text| text == value)
        };
        let tidy = is("tidy_tags", "yes");
        let text = if is("action", "append") {
            let parts: Vec<_> = [a, b, c].into_iter().filter(|part| !part.is_empty()).collect();
            parts.join(if tidy { ", " } else { "" })
        } else if b.starts_with('/') && b.ends_with('/')
            || a.len().saturating_mul(c.len() + 1) > MAX_TEXT_BYTES
        {
            // A regular expression of Python, or one replaced by much.
            self.note(what, node);
            a
        } else {
            a.replace(&b, &c)
        };
        let tidied = || text.replace("  ", " ").replace(" ,", ",").replace(",,", ",").replace(",,", ",");
        Some(if tidy { tidied() } else { text })
    }

    /// The texts that a sampler's conditioning is made of, the nearest first.
    pub(super) fn texts(&mut self, sampler: usize, side: PromptSide) -> Vec<String> {
        let mut walk = ConditioningWalk { side, texts: Vec::new(), next: Vec::new(), found: false };
        let inputs = self.graph.node(sampler);
        let others = ["guider", "conditioning", "pipe", "basic_pipe", "context"];
        let starts =
            std::iter::once(side.input()).chain(others.into_iter().filter(|_| !inputs.has(side.input())));
        let starts: Vec<_> = starts.filter_map(|name| inputs.input(name)).collect();
        let notes = self.not_followed.len();
        for start in starts.iter().rev() {
            match start {
                GraphInput::Link(link) => walk.next.push(*link),
                GraphInput::Lost => self.note(side.name(), sampler),
                GraphInput::Value(_) => walk.add(start.plain()),
            }
        }
        let mut seen = HashSet::new();
        while let Some(node) = walk.next.pop() {
            if seen.insert(node) && self.graph.step() {
                self.conditioning(node, &mut walk);
            }
        }
        let is_named = self.not_followed.len() > notes;
        if side == PromptSide::Positive && walk.texts.is_empty() && !walk.found && !is_named {
            self.note(side.name(), sampler);
        }
        let mut once = HashSet::new();
        walk.texts.retain(|text| once.insert(text.clone()));
        walk.texts
    }

    /// The texts of a node on the way, and where it goes on.
    fn conditioning(&mut self, node: usize, walk: &mut ConditioningWalk) {
        let inputs = self.graph.node(node);
        let (side, what) = (walk.side, walk.side.name());
        if rule(inputs.class).is_some() {
            match self.passed(node, 0) {
                Some(GraphInput::Link(link)) => walk.next.push(link),
                _ => walk.add(self.text(node, what, 0).map(Cow::Owned)),
            }
            return;
        }
        let is_encoder = is_encoder(inputs.class);
        // It gives nothing of what it is made of.
        let gives_zeros = inputs.class == "ConditioningZeroOut";
        if !is_encoder {
            self.note(what, node);
        }
        // Nodes that pass both on have an input for each.
        if let Some(input) =
            inputs.input(side.input()).filter(|_| inputs.has("positive") && inputs.has("negative"))
        {
            match input {
                GraphInput::Link(link) => walk.next.push(link),
                _ => walk.add(self.part(node, input, what, 0).map(Cow::Owned)),
            }
            return;
        }
        let before = walk.texts.len();
        let texts: Vec<_> = TEXTS.iter().filter_map(|name| inputs.input(name)).collect();
        walk.found |= is_encoder && !texts.is_empty();
        for input in &texts {
            walk.add(self.part(node, *input, what, 0).map(Cow::Owned));
        }
        if walk.texts.len() > before || gives_zeros || is_encoder && !texts.is_empty() {
            return;
        }
        // A guider without a negative text has only `conditioning`.
        let other = if side == PromptSide::Positive { "negative" } else { "conditioning" };
        let is_other = |name: &str| name == other && inputs.class.contains("Guider");
        let onward = self
            .inputs(node)
            .filter(|(name, _)| !ELSEWHERE.contains(name) && !TEXTS.contains(name) && !is_other(name));
        let onward: Vec<_> = onward.filter_map(|(_, input)| input.link()).collect();
        if onward.is_empty() && is_encoder && !inputs.class.contains("Guider") {
            self.note(what, node);
        }
        walk.next.extend(onward.into_iter().rev());
    }
}

/// The way from a sampler to its texts.
#[derive(Debug)]
struct ConditioningWalk {
    side: PromptSide,
    texts: Vec<String>,
    /// Nodes to go to, the next one last.
    next: Vec<usize>,
    /// Whether a node with a text was found, though that may be empty.
    found: bool,
}

impl ConditioningWalk {
    fn add(&mut self, text: Option<Cow<'_, str>>) {
        if let Some(text) = text {
            self.found = true;
            let text = text.trim();
            if !text.is_empty() {
                self.texts.push(text.to_owned());
            }
        }
    }
}
