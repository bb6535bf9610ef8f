//! Loads and stores.

use super::finding::FindingKind;
use super::machine::{Frame, Machine, OUTSIDE, Root, Slot, name};
use super::memory::{Agent, Place};
use naga::{Expression, Handle, Span};

impl<'a> Machine<'a> {
    pub(super) fn load(
        &mut self,
        frame: &Frame<'a>,
        slot: &mut Slot,
        pointer: Handle<Expression>,
        span: Span,
        active: &[u32],
    ) {
        let lanes = self.lanes;
        let parts = self.program.pointee_scalars(self.inner(frame, pointer));
        let Slot { data: offsets, root } = &frame.slots[pointer.index()];
        if let (Root::Local(local), Some(first)) = (*root, uniform(offsets)) {
            slot.data.extend_from_slice(&frame.locals[local][first * lanes..][..parts * lanes]);
            return;
        }
        slot.data.resize(parts * lanes, 0);
        let mut inside = Vec::with_capacity(active.len());
        for lane in active {
            let offset = offsets[*lane as usize];
            if offset & OUTSIDE == 0 {
                inside.push((*lane as usize, offset as usize));
            } else {
                self.report_outside(frame, FindingKind::ReadOutside, *root, offset, *lane, span);
            }
        }
        match *root {
            Root::Local(local) => {
                let words = &frame.locals[local];
                for (lane, first) in inside {
                    for part in 0..parts {
                        slot.data[part * lanes + lane] = words[(first + part) * lanes + lane];
                    }
                }
            }
            Root::Global(global) => self.load_shared(slot, global, &inside, parts, span),
            Root::None => panic!("a load from a value"),
        }
    }

    /// Loads from a variable that invocations share: for each of some lanes from an offset.
    fn load_shared(
        &mut self,
        slot: &mut Slot,
        global: usize,
        inside: &[(usize, usize)],
        parts: usize,
        span: Span,
    ) {
        let (lanes, epoch, group) = (self.lanes, self.epoch(global), self.group_number);
        let variable = &mut self.globals[global];
        let mut conflicts = Vec::new();
        for (lane, first) in inside {
            for part in 0..parts {
                slot.data[part * lanes + lane] = variable.words[first + part];
            }
            if variable.place == Place::Constant {
                continue;
            }
            for at in *first..first + parts {
                let conflict = variable.read(at, epoch, *lane as Agent, group);
                conflicts.extend(conflict.map(|conflict| (conflict, at, *lane as Agent)));
            }
        }
        for (conflict, at, agent) in conflicts {
            self.report_conflict(conflict, global, at, agent, span);
        }
    }

    pub(super) fn store(
        &mut self,
        frame: &mut Frame<'a>,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        span: Span,
        active: &[u32],
    ) {
        self.ensure(frame, pointer, active);
        self.ensure(frame, value, active);
        let lanes = self.lanes;
        let root = frame.slots[pointer.index()].root;
        let words = std::mem::take(&mut frame.slots[value.index()].data);
        let to = uniform(&frame.slots[pointer.index()].data).filter(|_| active.len() == lanes);
        if let (Root::Local(local), Some(first)) = (root, to) {
            frame.locals[local][first * lanes..][..words.len()].copy_from_slice(&words);
            frame.slots[value.index()].data = words;
            return;
        }
        for lane in active {
            let (lane, offset) = (*lane as usize, frame.slots[pointer.index()].data[*lane as usize]);
            if offset & OUTSIDE != 0 {
                self.report_outside(frame, FindingKind::WriteOutside, root, offset, lane as Agent, span);
                continue;
            }
            for (part, word) in words[lane..].iter().step_by(lanes).enumerate() {
                let at = offset as usize + part;
                match root {
                    Root::Local(local) => frame.locals[local][at * lanes + lane] = *word,
                    Root::Global(global) => self.write_shared(global, at, *word, lane as Agent, span),
                    Root::None => panic!("a store to a value"),
                }
            }
        }
        frame.slots[value.index()].data = words;
    }

    /// Reports an access outside an array.
    pub(super) fn report_outside(
        &mut self,
        frame: &Frame<'a>,
        kind: FindingKind,
        root: Root,
        offset: u32,
        agent: Agent,
        span: Span,
    ) {
        let variable = match root {
            Root::Global(global) => self.globals[global].name.clone(),
            Root::Local(local) => {
                let mut locals = frame.function.local_variables.iter();
                locals.nth(local).and_then(|(_, variable)| variable.name.clone()).unwrap_or_default()
            }
            Root::None => String::new(),
        };
        let index = (offset & !OUTSIDE) as usize;
        self.report(kind, &variable, index, span, || [name(agent), String::new()]);
    }
}

/// The offset of all lanes, if it is the same one and not outside.
fn uniform(offsets: &[u32]) -> Option<usize> {
    let first = offsets[0];
    (first & OUTSIDE == 0 && offsets.iter().all(|offset| *offset == first)).then_some(first as usize)
}
