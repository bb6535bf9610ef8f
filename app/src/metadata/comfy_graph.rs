//! ComfyUI's graphs, in one form: that which ran (`prompt`), and that which the page shows (`workflow`).
//!
//! `prompt` is an object of nodes, each with a class and inputs, which are values or links `["node", slot]`. A `workflow` has
//! values in the page's order, and a list of links.

use super::comfy_nodes::WIDGETS;
use super::json::Json;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};

/// Maximum number of nodes: workflows of people have up to some thousand.
pub(super) const MAX_NODES: usize = 10_000;
/// Maximum number of steps for each node and input, and of those that any graph may take. A question takes at most one for
/// each, and there are some ten.
const MAX_STEPS_PER_INPUT: usize = 16;
const MAX_STEPS: usize = 10_000;

/// An input of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum GraphInput<'a> {
    Value(&'a Json<'a>),
    /// Another node's output.
    Link(usize),
    /// An output of a node that the graph does not have.
    Lost,
}

impl<'a> GraphInput<'a> {
    /// A string, a number or a truth value as text.
    pub(super) fn plain(self) -> Option<Cow<'a, str>> {
        if let GraphInput::Value(value) = self { value.plain() } else { None }
    }

    pub(super) fn link(self) -> Option<usize> {
        if let GraphInput::Link(node) = self { Some(node) } else { None }
    }
}

#[derive(Debug)]
pub(super) struct GraphNode<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) class: &'a str,
    /// By name.
    inputs: Vec<(&'a str, GraphInput<'a>)>,
}

impl<'a> GraphNode<'a> {
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&'a str, GraphInput<'a>)> {
        self.inputs.iter().copied()
    }

    pub(super) fn input(&self, name: &str) -> Option<GraphInput<'a>> {
        let at = self.inputs.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
        Some(self.inputs[at].1)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.input(name).is_some()
    }
}

/// Nodes by number, in the order of their names, and how many steps were taken from one to another.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    nodes: Vec<GraphNode<'a>>,
    steps: Cell<usize>,
    max_steps: usize,
}

impl<'a> Graph<'a> {
    fn new(nodes: Vec<GraphNode<'a>>) -> Graph<'a> {
        let size = nodes.iter().map(|node| 1 + node.inputs.len()).sum::<usize>();
        Graph { nodes, steps: Cell::new(0), max_steps: MAX_STEPS + MAX_STEPS_PER_INPUT * size }
    }

    /// The graph of a `prompt`; `None` if the JSON is something else.
    ///
    /// # Errors
    /// The rest of a line that begins with the file's name: too many nodes.
    pub(super) fn of_prompt(json: &'a Json<'a>) -> Result<Option<Graph<'a>>, String> {
        let Some(object) = json.as_object() else { return Ok(None) };
        check(object.len())?;
        let numbers: HashMap<&str, usize> = object.iter().map(|(id, _)| id).zip(0..).collect();
        let input = |value: &'a Json<'a>| match value.as_list() {
            Some([Json::Text(node), Json::Number(slot)]) if slot.is_u64() => {
                numbers.get(&**node).map_or(GraphInput::Lost, |node| GraphInput::Link(*node))
            }
            _ => GraphInput::Value(value),
        };
        let nodes = object.iter().map(|(id, node)| {
            let inputs = node.get("inputs").and_then(Json::as_object);
            let inputs = inputs.into_iter().flat_map(|inputs| inputs.iter());
            GraphNode {
                id: Cow::Borrowed(id),
                class: node.get("class_type").and_then(Json::as_str).unwrap_or(""),
                inputs: inputs.map(|(name, value)| (name, input(value))).collect(),
            }
        });
        Ok(Some(Graph::new(nodes.collect())))
    }

    /// The graph of a `workflow`; `None` if the JSON is something else.
    ///
    /// # Errors
    /// The rest of a line that begins with the file's name: too many nodes.
    pub(super) fn of_workflow(json: &'a Json<'a>) -> Result<Option<Graph<'a>>, String> {
        let Some(list) = json.get("nodes").and_then(Json::as_list) else { return Ok(None) };
        check(list.len())?;
        let links = json.get("links").and_then(Json::as_list).unwrap_or_default();
        // From link to node.
        let links: HashMap<_, _> = links.iter().filter_map(link).collect();
        let mut named: Vec<(Cow<'a, str>, &'a str, &'a Json<'a>)> = Vec::new();
        for node in list {
            if let (Some(id), Some(class)) =
                (node.get("id").and_then(Json::plain), node.get("type").and_then(Json::as_str))
            {
                named.push((id, class, node));
            }
        }
        named.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        named.dedup_by(|(a, ..), (b, ..)| a == b);
        let numbers: HashMap<Cow<'_, str>, usize> =
            named.iter().map(|(id, ..)| id.clone()).zip(0..).collect();
        let from = |link: Cow<'a, str>| {
            let node = links.get(&link)?;
            Some(numbers.get(node).map_or(GraphInput::Lost, |node| GraphInput::Link(*node)))
        };
        let mut nodes = Vec::new();
        for (id, class, node) in named {
            let mut inputs = widgets(class, node);
            for input in node.get("inputs").and_then(Json::as_list).unwrap_or_default() {
                let link = input.get("link").and_then(Json::plain).and_then(from);
                if let (Some(name), Some(link)) = (input.get("name").and_then(Json::as_str), link) {
                    inputs.push((name, link));
                }
            }
            // A link counts more than the value that it replaced.
            inputs.sort_by_key(|(name, _)| *name);
            inputs.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    earlier.1 = later.1;
                }
                same
            });
            nodes.push(GraphNode { id, class, inputs });
        }
        Ok(Some(Graph::new(nodes)))
    }

    pub(super) fn node(&self, node: usize) -> &GraphNode<'a> {
        &self.nodes[node]
    }

    pub(super) fn nodes(&self) -> &[GraphNode<'a>] {
        &self.nodes
    }

    /// Counts a step; false if there were too many, after which nothing is followed any more.
    pub(super) fn step(&self) -> bool {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        steps <= self.max_steps
    }

    /// The number of steps so far.
    ///
    /// # Errors
    /// The rest of a line that begins with the file's name: there were too many.
    pub(super) fn checked_steps(&self) -> Result<usize, String> {
        let (steps, max) = (self.steps.get(), self.max_steps);
        if steps > max {
            let nodes = self.nodes.len();
            return Err(format!("has a graph of {nodes} nodes that takes more than {max} steps to follow"));
        }
        Ok(steps)
    }

    /// The nodes that some inputs of a node lead back to, the nearest first, without following inputs of the names in
    /// `closed`.
    pub(super) fn upstream<'g>(
        &'g self,
        node: usize,
        starts: &[&str],
        closed: &'g [&'g str],
    ) -> UpstreamNodes<'g, 'a> {
        let mut nodes =
            UpstreamNodes { graph: self, closed, found: VecDeque::new(), seen: HashSet::new(), last: None };
        for name in starts {
            nodes.meet(self.nodes[node].input(name));
        }
        nodes
    }
}

fn check(nodes: usize) -> Result<(), String> {
    if nodes > MAX_NODES {
        return Err(format!("has a graph of {nodes} nodes; the maximum is {MAX_NODES}"));
    }
    Ok(())
}

/// A link of a workflow and the node that it comes from: `[link, from node, from slot, …]`, or an object of these.
fn link<'a>(link: &'a Json<'a>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    match link {
        Json::List(parts) => Some((parts.first()?.plain()?, parts.get(1)?.plain()?)),
        _ => Some((link.get("id")?.plain()?, link.get("origin_id")?.plain()?)),
    }
}

/// The values that the page shows for a node, by the names that they have in a `prompt`.
fn widgets<'a>(class: &str, node: &'a Json<'a>) -> Vec<(&'a str, GraphInput<'a>)> {
    let order: &'static [&'static str] =
        WIDGETS.iter().find(|(known, _)| *known == class).map_or(&[], |(_, names)| *names);
    match node.get("widgets_values") {
        Some(Json::List(values)) => {
            let named = order.iter().zip(values.iter()).filter(|(name, _)| !name.is_empty());
            named.map(|(name, value)| (*name, GraphInput::Value(value))).collect()
        }
        Some(Json::Object(values)) => {
            values.iter().map(|(name, value)| (name, GraphInput::Value(value))).collect()
        }
        _ => Vec::new(),
    }
}

/// See [`Graph::upstream`].
#[derive(Debug)]
pub(super) struct UpstreamNodes<'g, 'a> {
    graph: &'g Graph<'a>,
    closed: &'g [&'g str],
    found: VecDeque<usize>,
    seen: HashSet<usize>,
    /// The node that was found last, whose inputs are not followed yet.
    last: Option<usize>,
}

impl UpstreamNodes<'_, '_> {
    /// Passes by nodes that were met on other ways, of which nothing more is wanted.
    pub(super) fn pass_by(&mut self, met: HashSet<usize>) {
        self.found.retain(|node| !met.contains(node));
        let starts = std::mem::replace(&mut self.seen, met);
        self.seen.extend(starts);
    }

    /// All nodes that were met, and those that were to be passed by.
    pub(super) fn met(self) -> HashSet<usize> {
        self.seen
    }

    fn meet(&mut self, input: Option<GraphInput<'_>>) {
        if let Some(GraphInput::Link(node)) = input
            && self.seen.insert(node)
        {
            self.found.push_back(node);
        }
    }
}

impl Iterator for UpstreamNodes<'_, '_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if let Some(last) = self.last.take() {
            for (name, input) in self.graph.nodes[last].inputs() {
                if !self.graph.step() {
                    return None;
                }
                if !self.closed.contains(&name) {
                    self.meet(Some(input));
                }
            }
        }
        self.last = self.found.pop_front().filter(|_| self.graph.step());
        self.last
    }
}
