//! What the checker finds.

use super::program::Program;
use naga::Span;
use std::collections::HashMap;
use std::fmt;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FindingKind {
    /// Two invocations of a workgroup touch a scalar without a barrier between them, and one of them writes.
    Race,
    /// A workgroup writes a scalar that another workgroup of the dispatch reads or writes.
    WorkgroupRace,
    /// A read outside an array or a binding. Real hardware returns anything, or clamps the index.
    ReadOutside,
    /// A write outside an array or a binding.
    WriteOutside,
    /// A barrier that some invocations of the workgroup do not reach.
    PartialBarrier,
    /// A subgroup operation that some threads of the subgroup do not reach, or with different pointers.
    PartialSubgroup,
    /// A read of workgroup memory that nothing wrote: it is not cleared.
    Unwritten,
    /// A division of integers by zero.
    ZeroDivision,
    /// A finite value that becomes infinite as `f16`.
    HalfOverflow,
    /// A loop that does not end.
    EndlessLoop,
}

/// A fault: the first place where it was seen.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) kind: FindingKind,
    /// The variable, if there is one.
    pub(super) variable: String,
    /// The scalar of the variable, or the part that was asked for.
    index: usize,
    /// The invocations, or workgroups, or subgroups, that take part.
    who: [String; 2],
    line_number: usize,
    line: String,
    /// Number of times that it was seen there.
    count: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { kind, variable, index, who: [a, b], line_number, line, count } = self;
        write!(f, "{kind:?} of {variable}[{index}] by {a}")?;
        if !b.is_empty() {
            write!(f, " and {b}")?;
        }
        write!(f, ", {count} times, in line {line_number}: {line}")
    }
}

/// The findings of a dispatch, one for each kind, variable and line.
#[derive(Default)]
pub(super) struct Findings(HashMap<(FindingKind, String, usize), Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        program: &Program,
        (kind, variable, index): (FindingKind, &str, usize),
        span: Span,
        who: impl FnOnce() -> [String; 2],
    ) {
        let line_number = program.line_number(span);
        let known = self.0.entry((kind, variable.to_owned(), line_number));
        let finding = known.or_insert_with(|| Finding {
            kind,
            variable: variable.to_owned(),
            index,
            who: who(),
            line_number,
            line: program.line(line_number).to_owned(),
            count: 0,
        });
        finding.count += 1;
    }

    /// In the order of their lines.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.0.into_values().collect();
        all.sort_by(|a, b| (a.line_number, &a.variable).cmp(&(b.line_number, &b.variable)));
        all
    }
}
