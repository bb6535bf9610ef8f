//! What a checkpoint lacks.

use crate::families::component::Component;
use latent_loader::{Plain, Quoted};
use std::fmt::{self, Display};

/// Number of tensors that a message lists for each component.
const LISTED: usize = 5;

/// What an incomplete file lacks. Displayed, it is one line with the first tensors of each component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingTensors {
    /// The file.
    pub file: String,
    /// The family that it seems to belong to.
    pub family: &'static str,
    /// The components that are not complete.
    pub components: Vec<ComponentCheck>,
}

/// A component of a checkpoint, compared with what its layers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComponentCheck {
    /// The component.
    pub component: Component,
    /// Number of tensors that its layers ask for.
    pub required: usize,
    /// Canonical names of tensors that are not in the file.
    pub missing: Vec<String>,
    /// Tensors of the wrong shape.
    pub misshaped: Vec<MisshapedTensor>,
    /// Names in the file of tensors of the component that no layer reads. Those that other programs save with every such
    /// component are not among them.
    pub unused: Vec<String>,
    /// Whether weights of whole blocks are among the unused ones: a block before them is missing, and was taken for the end.
    pub(super) has_unused_blocks: bool,
}

/// A tensor of another shape than its layer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MisshapedTensor {
    /// Its canonical name.
    pub name: String,
    /// The shape that is needed.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

impl MisshapedTensor {
    /// A tensor that was found in another shape than was expected.
    pub(crate) fn new(name: String, expected: &[usize], found: &[usize]) -> MisshapedTensor {
        MisshapedTensor { name, expected: expected.to_vec(), found: found.to_vec() }
    }
}

impl ComponentCheck {
    /// Whether it can be loaded: nothing that its layers need is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misshaped.is_empty() && !self.has_unused_blocks
    }

    /// Whether it consists of exactly the tensors that its layers read.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.misshaped.is_empty() && self.unused.is_empty()
    }
}

impl Display for MissingTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: seems to be a {} model, but is incomplete", Plain(&self.file), self.family)?;
        for component in &self.components {
            write!(f, "; {component}")?;
        }
        f.write_str("; the file is damaged or of another kind of model, get it again from its source")
    }
}

impl Display for ComponentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[String]| list(names.iter().map(|name| Quoted(name)), names.len());
        let mut problems = Vec::new();
        if !self.missing.is_empty() {
            let (missing, required) = (self.missing.len(), self.required);
            problems.push(format!("{missing} of {required} tensors missing{}", quoted(&self.missing)));
        }
        if !self.misshaped.is_empty() {
            let misshaped = self.misshaped.len();
            problems
                .push(format!("{misshaped} of the wrong shape{}", list(self.misshaped.iter(), misshaped)));
        }
        if !self.unused.is_empty() {
            problems.push(format!("{} that no layer uses{}", self.unused.len(), quoted(&self.unused)));
        }
        write!(f, "{}: {}", self.component, problems.join(", "))
    }
}

impl Display for MisshapedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {:?} instead of {:?}", Quoted(&self.name), self.found, self.expected)
    }
}

/// The first of some items, in brackets.
fn list(items: impl Iterator<Item: Display>, count: usize) -> String {
    let listed: Vec<_> = items.take(LISTED).map(|item| item.to_string()).collect();
    let more = if count > LISTED { format!(" and {} more", count - LISTED) } else { String::new() };
    format!(" ({}{more})", listed.join(", "))
}
