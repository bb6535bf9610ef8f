//! Statements and control flow.

use super::finding::FindingKind;
use super::machine::{Frame, Lanes, Machine, Root, Slot, set_argument};
use naga::{Barrier, Block, Expression, Function, Handle, Span, Statement};

impl<'a> Machine<'a> {
    /// Runs a block. Returns the lanes that reach its end.
    pub(super) fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut active: Lanes) -> Lanes {
        for (statement, span) in block.span_iter() {
            if active.is_empty() || self.halted {
                return Lanes::new();
            }
            active = self.statement(frame, statement, *span, active);
        }
        active
    }

    fn statement(
        &mut self,
        frame: &mut Frame<'a>,
        statement: &'a Statement,
        span: Span,
        active: Lanes,
    ) -> Lanes {
        match *statement {
            Statement::Emit(ref range) => {
                for handle in range.clone() {
                    self.evaluate(frame, handle, &active);
                }
            }
            Statement::Block(ref block) => return self.block(frame, block, active),
            Statement::If { condition, ref accept, ref reject } => {
                let (taken, other) = self.split(frame, condition, &active);
                let taken = self.block(frame, accept, taken);
                let other = self.block(frame, reject, other);
                return merge(taken, other);
            }
            Statement::Loop { ref body, ref continuing, break_if } => {
                return self.run_loop(frame, body, (continuing, break_if), span, active);
            }
            Statement::Break => {
                let broken = frame.broken.last_mut().expect("a loop to leave");
                *broken = merge(std::mem::take(broken), active);
                return Lanes::new();
            }
            Statement::Continue => {
                let continued = frame.continued.last_mut().expect("a loop to continue");
                *continued = merge(std::mem::take(continued), active);
                return Lanes::new();
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    self.set_result(frame, value, &active);
                }
                return Lanes::new();
            }
            Statement::ControlBarrier(kind) => self.barrier(kind, span, &active),
            Statement::Store { pointer, value } => self.store(frame, pointer, value, span, &active),
            Statement::Call { function, ref arguments, result } => {
                self.call_function(frame, function, arguments, result, &active);
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                self.reduce(frame, (op, collective_op), argument, result, span, &active);
            }
            Statement::CooperativeStore { target, ref data } => {
                self.store_matrix(frame, target, data, span, &active);
            }
            ref other => panic!("not interpreted: {other:?}"),
        }
        active
    }

    /// The lanes for which a condition holds, and the others.
    fn split(
        &mut self,
        frame: &mut Frame<'a>,
        condition: Handle<Expression>,
        active: &[u32],
    ) -> (Lanes, Lanes) {
        self.ensure(frame, condition, active);
        let holds = &frame.slots[condition.index()].data;
        active.iter().partition(|lane| holds[**lane as usize] != 0)
    }

    fn run_loop(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        (continuing, break_if): (&'a Block, Option<Handle<Expression>>),
        span: Span,
        mut active: Lanes,
    ) -> Lanes {
        frame.broken.push(Lanes::new());
        while !active.is_empty() && !self.is_endless(span) {
            frame.continued.push(Lanes::new());
            let end = self.block(frame, body, active);
            let continued = frame.continued.pop().expect("pushed above");
            active = self.block(frame, continuing, merge(end, continued));
            if let Some(condition) = break_if.filter(|_| !active.is_empty()) {
                let (left, rest) = self.split(frame, condition, &active);
                let broken = frame.broken.last_mut().expect("pushed above");
                *broken = merge(std::mem::take(broken), left);
                active = rest;
            }
        }
        frame.broken.pop().expect("pushed above")
    }

    fn set_result(&mut self, frame: &mut Frame<'a>, value: Handle<Expression>, active: &[u32]) {
        self.ensure(frame, value, active);
        let words = &frame.slots[value.index()].data;
        frame.result.resize(words.len(), 0);
        for part in (0..words.len()).step_by(self.lanes) {
            for lane in active {
                let at = part + *lane as usize;
                frame.result[at] = words[at];
            }
        }
    }

    fn barrier(&mut self, kind: Barrier, span: Span, active: &[u32]) {
        if active.len() < self.lanes {
            let missing = (0..self.lanes as u32).find(|lane| !active.contains(lane)).unwrap_or_default();
            let who = || [format!("invocation {}", active[0]), format!("not by invocation {missing}")];
            self.report(FindingKind::PartialBarrier, "", 0, span, who);
        }
        if kind.contains(Barrier::WORK_GROUP) {
            self.workgroup_epoch += 1;
        }
        if kind.contains(Barrier::STORAGE) {
            self.storage_epoch += 1;
        }
    }

    fn call_function(
        &mut self,
        frame: &mut Frame<'a>,
        callee: Handle<Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
        active: &[u32],
    ) {
        let program = self.program;
        let function = &program.module.functions[callee];
        let mut inner = self.frame(callee.index(), function, &program.info[callee]);
        for (number, argument) in arguments.iter().enumerate() {
            self.ensure(frame, *argument, active);
            let slot = &frame.slots[argument.index()];
            assert_eq!(slot.root, Root::None, "pointers as arguments are not interpreted");
            set_argument(&mut inner, number as u32, slot.data.clone());
        }
        self.call(&mut inner, active.to_vec());
        if let Some(result) = result {
            let data = std::mem::take(&mut inner.result);
            frame.slots[result.index()] = Slot { data, root: Root::None };
        }
        self.keep(callee.index(), inner);
    }
}

/// Two sets of lanes in order.
fn merge(mut a: Lanes, b: Lanes) -> Lanes {
    if a.is_empty() {
        return b;
    }
    if !b.is_empty() {
        a.extend(b);
        a.sort_unstable();
    }
    a
}
