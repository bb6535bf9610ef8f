//! The state of a workgroup.
//!
//! All invocations of a workgroup take each statement together, as far as they reach it, so that a value is a row of words:
//! that of part `p` of lane `l` is word `p * lanes + l`. This order of execution is one of many, which does no harm: what
//! depends on the order is a race, and memory knows who touched it between two barriers.

use super::finding::{FindingKind, Findings};
use super::memory::{Agent, Conflict, Place, SharedVariable};
use super::program::Program;
use naga::valid::FunctionInfo;
use naga::{AddressSpace, Expression, Function, Handle, Span, StorageAccess, TypeInner};
use std::collections::HashMap;

/// Invocations in the order of their numbers: those that reach a statement.
pub(super) type Lanes = Vec<u32>;

/// Turns of all loops of a workgroup.
const MAX_TURNS: u64 = 1 << 17;

/// Marks the offset of a pointer that lies outside its array; the rest is the index.
pub(super) const OUTSIDE: u32 = 1 << 31;

/// Agents from here on are subgroups.
const FIRST_SUBGROUP: Agent = 1 << 16;

/// The variable that a pointer points into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Root {
    /// Not a pointer.
    #[default]
    None,
    Global(usize),
    Local(usize),
}

/// The value of an expression for all lanes: of a pointer, the offset in scalars.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) data: Vec<u32>,
    pub(super) root: Root,
}

/// A call of a function by some lanes.
pub(super) struct Frame<'a> {
    pub(super) function: &'a Function,
    pub(super) info: &'a FunctionInfo,
    pub(super) slots: Vec<Slot>,
    pub(super) locals: Vec<Vec<u32>>,
    pub(super) result: Vec<u32>,
    /// Lanes that left the innermost loop, or its body, for each open loop.
    pub(super) broken: Vec<Lanes>,
    pub(super) continued: Vec<Lanes>,
}

impl<'a> Frame<'a> {
    fn new(function: &'a Function, info: &'a FunctionInfo) -> Frame<'a> {
        let count = function.expressions.len();
        Frame {
            function,
            info,
            slots: std::iter::repeat_with(Slot::default).take(count).collect(),
            locals: vec![Vec::new(); function.local_variables.len()],
            result: Vec::new(),
            broken: Vec::new(),
            continued: Vec::new(),
        }
    }
}

pub(super) struct Machine<'a> {
    pub(super) program: &'a Program,
    pub(super) lanes: usize,
    /// By the index of their handles.
    pub(super) globals: Vec<SharedVariable>,
    pub(super) findings: Findings,
    /// The workgroup, and its number.
    pub(super) group: [u32; 3],
    pub(super) group_number: Agent,
    /// The numbers of workgroups in each dimension.
    pub(super) groups: [u32; 3],
    /// Barriers for workgroup memory so far, and for bindings.
    pub(super) workgroup_epoch: u32,
    pub(super) storage_epoch: u32,
    /// The place of each lane among the threads of subgroups, and its inverse.
    pub(super) places: Vec<u32>,
    pub(super) of_place: Vec<u32>,
    turns: u64,
    /// Whether the workgroup was given up.
    pub(super) halted: bool,
    /// Frames that can be used again, by the index of their function.
    pool: HashMap<usize, Vec<Frame<'a>>>,
}

impl<'a> Machine<'a> {
    /// `spread` is odd: the factor by which neighbouring invocations are apart in the order of subgroups' threads.
    pub(super) fn new(
        program: &'a Program,
        params: &[u8],
        arrays: &[Vec<u8>],
        groups: [u32; 3],
        spread: u32,
    ) -> Machine<'a> {
        let lanes = program.entry().workgroup_size.iter().product::<u32>();
        let places: Vec<u32> = (0..lanes).map(|lane| lane * spread % lanes).collect();
        let mut of_place = vec![0; lanes as usize];
        for (lane, place) in places.iter().enumerate() {
            of_place[*place as usize] = lane as u32;
        }
        Machine {
            program,
            lanes: lanes as usize,
            globals: globals(program, params, arrays),
            findings: Findings::default(),
            group: [0; 3],
            group_number: 0,
            groups,
            workgroup_epoch: 1,
            storage_epoch: 1,
            places,
            of_place,
            turns: 0,
            halted: false,
            pool: HashMap::new(),
        }
    }

    /// Runs a workgroup.
    pub(super) fn run(&mut self, group: [u32; 3]) {
        self.group = group;
        self.group_number = (group[2] * self.groups[1] + group[1]) * self.groups[0] + group[0];
        self.storage_epoch += 1;
        (self.turns, self.halted) = (0, false);
        self.globals.iter_mut().for_each(SharedVariable::clear);
        let program = self.program;
        let mut frame = self.frame(usize::MAX, &program.entry().function, program.entry_info());
        for (argument, value) in program.entry().function.arguments.iter().enumerate() {
            let words = self.builtin(value.binding.as_ref());
            set_argument(&mut frame, argument as u32, words);
        }
        let all: Lanes = (0..self.lanes as u32).collect();
        self.call(&mut frame, all);
        self.pool.entry(usize::MAX).or_default().push(frame);
    }

    /// A frame for a call.
    pub(super) fn frame(
        &mut self,
        index: usize,
        function: &'a Function,
        info: &'a FunctionInfo,
    ) -> Frame<'a> {
        let free = self.pool.get_mut(&index).and_then(Vec::pop);
        free.unwrap_or_else(|| Frame::new(function, info))
    }

    /// Keeps a frame for a later call.
    pub(super) fn keep(&mut self, index: usize, frame: Frame<'a>) {
        self.pool.entry(index).or_default().push(frame);
    }

    /// Runs the body of a function.
    pub(super) fn call(&mut self, frame: &mut Frame<'a>, active: Lanes) {
        let (program, lanes) = (self.program, self.lanes);
        for (handle, local) in frame.function.local_variables.iter() {
            let words = program.scalars_of(local.ty) * lanes;
            let mut values = std::mem::take(&mut frame.locals[handle.index()]);
            values.clear();
            match local.init {
                Some(init) => {
                    self.ensure(frame, init, &active);
                    values.extend_from_slice(&frame.slots[init.index()].data);
                }
                None => values.resize(words, 0),
            }
            assert_eq!(values.len(), words, "{:?}", local.name);
            frame.locals[handle.index()] = values;
        }
        let body = &frame.function.body;
        self.block(frame, body, active);
    }

    /// Counts a turn of a loop. Returns whether there were too many.
    pub(super) fn is_endless(&mut self, span: Span) -> bool {
        self.turns += 1;
        if self.turns > MAX_TURNS && !self.halted {
            self.halted = true;
            self.report(FindingKind::EndlessLoop, "", 0, span, || {
                [String::from("a workgroup"), String::new()]
            });
        }
        self.halted
    }

    pub(super) fn report(
        &mut self,
        kind: FindingKind,
        variable: &str,
        index: usize,
        span: Span,
        who: impl FnOnce() -> [String; 2],
    ) {
        self.findings.add(self.program, (kind, variable, index), span, who);
    }

    /// Reads a scalar of a variable that invocations share.
    pub(super) fn read_shared(&mut self, global: usize, at: usize, agent: Agent, span: Span) -> u32 {
        let epoch = self.epoch(global);
        if let Some(conflict) = self.globals[global].read(at, epoch, agent, self.group_number) {
            self.report_conflict(conflict, global, at, agent, span);
        }
        self.globals[global].words[at]
    }

    /// Writes a scalar of a variable that invocations share.
    pub(super) fn write_shared(&mut self, global: usize, at: usize, word: u32, agent: Agent, span: Span) {
        let epoch = self.epoch(global);
        if let Some(conflict) = self.globals[global].write(at, epoch, agent, self.group_number) {
            self.report_conflict(conflict, global, at, agent, span);
        }
        self.globals[global].words[at] = word;
    }

    pub(super) fn epoch(&self, global: usize) -> u32 {
        match self.globals[global].place {
            Place::Workgroup => self.workgroup_epoch,
            Place::Storage | Place::Constant => self.storage_epoch,
        }
    }

    pub(super) fn report_conflict(
        &mut self,
        conflict: Conflict,
        global: usize,
        at: usize,
        agent: Agent,
        span: Span,
    ) {
        let group = self.group_number;
        let (kind, who) = match conflict {
            Conflict::Invocation(other) => (FindingKind::Race, [name(agent), name(other)]),
            Conflict::Workgroup(other) => {
                (FindingKind::WorkgroupRace, [group, other].map(|n| format!("workgroup {n}")))
            }
            Conflict::Unwritten => (FindingKind::Unwritten, [name(agent), String::new()]),
        };
        let variable = &self.globals[global].name;
        self.findings.add(self.program, (kind, variable, at), span, || who);
    }

    /// The subgroup of a place, as an agent.
    pub(super) fn subgroup_agent(subgroup: usize) -> Agent {
        FIRST_SUBGROUP + subgroup as Agent
    }

    /// The type of an expression.
    pub(super) fn inner(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        frame.info[handle].ty.inner_with(&self.program.module.types)
    }
}

/// An agent's name in a report.
pub(super) fn name(agent: Agent) -> String {
    match agent.checked_sub(FIRST_SUBGROUP) {
        Some(subgroup) => format!("subgroup {subgroup}"),
        None => format!("invocation {agent}"),
    }
}

/// Sets an argument of a function.
pub(super) fn set_argument(frame: &mut Frame<'_>, argument: u32, words: Vec<u32>) {
    let of =
        |expression: &Expression| matches!(expression, Expression::FunctionArgument(n) if *n == argument);
    let handle = frame.function.expressions.iter().find(|(_, expression)| of(expression));
    if let Some((handle, _)) = handle {
        frame.slots[handle.index()].data = words;
    }
}

/// The module's variables, with the contents of the bindings.
fn globals(program: &Program, params: &[u8], arrays: &[Vec<u8>]) -> Vec<SharedVariable> {
    let mut all = Vec::new();
    for (_, global) in program.module.global_variables.iter() {
        let name = global.name.clone().unwrap_or_default();
        let inner = &program.module.types[global.ty].inner;
        let width = usize::from(program.scalar(inner).width);
        let number = global.binding.map_or(0, |place| place.binding as usize);
        all.push(match global.space {
            AddressSpace::Uniform => SharedVariable::binding(name, 4, params, false),
            AddressSpace::Storage { access } => {
                let is_written = access.contains(StorageAccess::STORE);
                SharedVariable::binding(name, width, &arrays[number - 1], is_written)
            }
            AddressSpace::WorkGroup => SharedVariable::workgroup(name, program.scalars_of(global.ty)),
            space => panic!("variables in {space:?} are not interpreted"),
        });
    }
    all
}
