//! Expressions.

use super::arithmetic;
use super::finding::FindingKind;
use super::machine::{Frame, Machine, OUTSIDE, Root, Slot};
use half::f16;
use naga::{
    BinaryOperator, Binding, BuiltIn, Expression, Handle, Literal, ScalarKind, Span, SwizzleComponent,
    TypeInner,
};

impl<'a> Machine<'a> {
    /// Computes an expression that no statement emits, such as a literal, unless it is known.
    pub(super) fn ensure(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, active: &[u32]) {
        if frame.slots[handle.index()].data.is_empty() {
            self.evaluate(frame, handle, active);
        }
    }

    /// Computes an expression. Lanes that are not active get any value.
    pub(super) fn evaluate(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, active: &[u32]) {
        let function = frame.function;
        let span = function.expressions.get_span(handle);
        let mut slot = std::mem::take(&mut frame.slots[handle.index()]);
        slot.data.clear();
        match function.expressions[handle] {
            Expression::Literal(literal) => slot.data.resize(self.lanes, word(literal)),
            Expression::Constant(constant) => {
                let words = self.constant(self.program.module.constants[constant].init);
                self.broadcast(&mut slot, &words);
            }
            Expression::ZeroValue(ty) => slot.data.resize(self.program.scalars_of(ty) * self.lanes, 0),
            Expression::GlobalVariable(global) => {
                slot.root = Root::Global(global.index());
                slot.data.resize(self.lanes, 0);
            }
            Expression::LocalVariable(local) => {
                slot.root = Root::Local(local.index());
                slot.data.resize(self.lanes, 0);
            }
            Expression::Compose { ref components, .. } => {
                for component in components {
                    self.ensure(frame, *component, active);
                    slot.data.extend_from_slice(&frame.slots[component.index()].data);
                }
            }
            Expression::Splat { size, value } => {
                self.ensure(frame, value, active);
                slot.data = frame.slots[value.index()].data.repeat(size as usize);
            }
            Expression::Swizzle { size, vector, pattern } => {
                self.ensure(frame, vector, active);
                self.swizzle(frame, &mut slot, vector, &pattern[..size as usize]);
            }
            Expression::Access { base, index } => {
                self.ensure(frame, base, active);
                self.ensure(frame, index, active);
                self.access(frame, &mut slot, (base, index), span, active);
            }
            Expression::AccessIndex { base, index } => {
                self.ensure(frame, base, active);
                self.access_index(frame, &mut slot, (base, handle), index);
            }
            Expression::Load { pointer } => {
                self.ensure(frame, pointer, active);
                self.load(frame, &mut slot, pointer, span, active);
            }
            ref other => self.compute(frame, &mut slot, (handle, other), span, active),
        }
        frame.slots[handle.index()] = slot;
    }

    /// Computes an expression of values alone.
    fn compute(
        &mut self,
        frame: &mut Frame<'a>,
        slot: &mut Slot,
        (handle, expression): (Handle<Expression>, &'a Expression),
        span: Span,
        active: &[u32],
    ) {
        let data = &mut slot.data;
        match *expression {
            Expression::Unary { op, expr } => {
                self.ensure(frame, expr, active);
                let scalar = self.program.scalar(self.inner(frame, expr));
                arithmetic::unary(op, scalar, &frame.slots[expr.index()].data, data);
            }
            Expression::Binary { op, left, right } => {
                self.ensure(frame, left, active);
                self.ensure(frame, right, active);
                self.check_division(frame, op, right, span, active);
                let scalar = self.program.scalar(self.inner(frame, left));
                let [left, right] = [left, right].map(|side| &frame.slots[side.index()].data[..]);
                arithmetic::binary(op, scalar, [left, right], self.lanes, data);
            }
            Expression::Select { condition, accept, reject } => {
                for operand in [condition, accept, reject] {
                    self.ensure(frame, operand, active);
                }
                let of = |operand: Handle<Expression>| &frame.slots[operand.index()].data;
                let (condition, accept, reject) = (of(condition), of(accept), of(reject));
                let holds = |i: usize| condition[i % condition.len()] != 0;
                data.extend((0..accept.len()).map(|i| if holds(i) { accept[i] } else { reject[i] }));
            }
            Expression::Math { fun, arg, arg1, arg2, .. } => {
                let arguments: Vec<_> = [Some(arg), arg1, arg2].into_iter().flatten().collect();
                arguments.iter().for_each(|argument| self.ensure(frame, *argument, active));
                let scalar = self.program.scalar(self.inner(frame, arg));
                let words: Vec<_> = arguments.iter().map(|a| &frame.slots[a.index()].data[..]).collect();
                arithmetic::math(fun, scalar, &words, data);
            }
            Expression::As { expr, kind, convert } => {
                self.ensure(frame, expr, active);
                let from = self.program.scalar(self.inner(frame, expr));
                let source = &frame.slots[expr.index()].data;
                arithmetic::convert(from, (kind, convert), source, data);
                if kind == ScalarKind::Float && convert == Some(2) && from.width == 4 {
                    self.check_half(frame, (expr, data), span, active);
                }
            }
            Expression::CooperativeLoad { data: ref source, .. } => {
                let inner = self.inner(frame, handle);
                self.load_matrix(frame, data, (inner, source), span, active);
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                self.multiply_add(frame, data, [a, b, c], span, active);
            }
            ref other => panic!("not interpreted: {other:?}"),
        }
    }

    fn broadcast(&self, slot: &mut Slot, words: &[u32]) {
        slot.data.extend(words.iter().flat_map(|word| std::iter::repeat_n(*word, self.lanes)));
    }

    /// The words of a constant.
    fn constant(&self, handle: Handle<Expression>) -> Vec<u32> {
        let module = &self.program.module;
        match module.global_expressions[handle] {
            Expression::Literal(literal) => vec![word(literal)],
            Expression::Constant(constant) => self.constant(module.constants[constant].init),
            Expression::ZeroValue(ty) => vec![0; self.program.scalars_of(ty)],
            Expression::Splat { size, value } => self.constant(value).repeat(size as usize),
            Expression::Compose { ref components, .. } => {
                components.iter().flat_map(|component| self.constant(*component)).collect()
            }
            ref other => panic!("not interpreted as a constant: {other:?}"),
        }
    }

    /// The value of a builtin for all lanes.
    pub(super) fn builtin(&self, binding: Option<&Binding>) -> Vec<u32> {
        let Some(Binding::BuiltIn(builtin)) = binding else { panic!("an argument that is no builtin") };
        let lanes = 0..self.lanes as u32;
        let size = self.program.subgroup as u32;
        let uniform = |value: [u32; 3]| value.into_iter().flat_map(|v| vec![v; self.lanes]).collect();
        match builtin {
            BuiltIn::WorkGroupId => uniform(self.group),
            BuiltIn::NumWorkGroups => uniform(self.groups),
            BuiltIn::LocalInvocationIndex => lanes.collect(),
            BuiltIn::GlobalInvocationId => {
                let [width, ..] = self.program.entry().workgroup_size;
                let mut words: Vec<u32> = lanes.map(|lane| self.group[0] * width + lane).collect();
                words.extend(vec![self.group[1]; self.lanes]);
                words.extend(vec![self.group[2]; self.lanes]);
                words
            }
            BuiltIn::SubgroupId => self.places.iter().map(|place| place / size).collect(),
            BuiltIn::SubgroupInvocationId => self.places.iter().map(|place| place % size).collect(),
            BuiltIn::SubgroupSize => vec![size; self.lanes],
            other => panic!("the builtin {other:?} is not interpreted"),
        }
    }

    fn swizzle(
        &self,
        frame: &Frame<'a>,
        slot: &mut Slot,
        vector: Handle<Expression>,
        pattern: &[SwizzleComponent],
    ) {
        let words = &frame.slots[vector.index()].data;
        for part in pattern {
            slot.data.extend_from_slice(&words[*part as usize * self.lanes..][..self.lanes]);
        }
    }

    /// A part of a value, or a pointer to it, by an index that is computed.
    fn access(
        &mut self,
        frame: &Frame<'a>,
        slot: &mut Slot,
        (base, index): (Handle<Expression>, Handle<Expression>),
        span: Span,
        active: &[u32],
    ) {
        let lanes = self.lanes;
        let (inner, is_pointer) = self.program.pointee(self.inner(frame, base));
        let (each, len) = self.program.parts(inner);
        let (from, index) = (&frame.slots[base.index()], &frame.slots[index.index()].data);
        if is_pointer {
            slot.root = from.root;
            let len = len.unwrap_or_else(|| match from.root {
                Root::Global(global) => self.globals[global].words.len() / each,
                _ => panic!("only bindings have arrays of any length"),
            });
            slot.data.extend(from.data.iter().zip(index).map(|(offset, index)| {
                if *offset & OUTSIDE != 0 {
                    *offset
                } else if (*index as usize) < len {
                    offset + index * each as u32
                } else {
                    OUTSIDE | *index
                }
            }));
            return;
        }
        let len = len.expect("a value has a length");
        for lane in active {
            let index = index[*lane as usize];
            if index as usize >= len {
                let who = || [format!("invocation {lane}"), String::new()];
                self.report(FindingKind::ReadOutside, "a value", index as usize, span, who);
            }
        }
        slot.data.resize(each * lanes, 0);
        for (lane, index) in index.iter().enumerate().take(lanes) {
            let first = (*index as usize).min(len - 1) * each;
            for part in 0..each {
                slot.data[part * lanes + lane] = from.data[(first + part) * lanes + lane];
            }
        }
    }

    /// A part of a value, or a pointer to it, by an index that is constant.
    fn access_index(
        &self,
        frame: &Frame<'a>,
        slot: &mut Slot,
        (base, handle): (Handle<Expression>, Handle<Expression>),
        index: u32,
    ) {
        let (inner, is_pointer) = self.program.pointee(self.inner(frame, base));
        let offset = self.program.offset(inner, index);
        let from = &frame.slots[base.index()];
        if !is_pointer {
            let parts = self.program.scalars(self.inner(frame, handle));
            slot.data.extend_from_slice(&from.data[offset * self.lanes..][..parts * self.lanes]);
            return;
        }
        slot.root = from.root;
        let bound = match (inner, from.root) {
            (TypeInner::Array { .. }, Root::Global(global)) => self.globals[global].words.len(),
            _ => usize::MAX,
        };
        slot.data.extend(from.data.iter().map(|from| match from & OUTSIDE {
            0 if (*from as usize + offset) < bound => from + offset as u32,
            0 => OUTSIDE | index,
            _ => *from,
        }));
    }

    fn check_division(
        &mut self,
        frame: &Frame<'a>,
        op: BinaryOperator,
        right: Handle<Expression>,
        span: Span,
        active: &[u32],
    ) {
        if !matches!(op, BinaryOperator::Divide | BinaryOperator::Modulo)
            || self.program.scalar(self.inner(frame, right)).kind == ScalarKind::Float
        {
            return;
        }
        let words = &frame.slots[right.index()].data;
        let is_zero =
            |lane: &&u32| words[**lane as usize..].iter().step_by(self.lanes).any(|word| *word == 0);
        if let Some(lane) = active.iter().find(is_zero) {
            let who = || [format!("invocation {lane}"), String::new()];
            self.report(FindingKind::ZeroDivision, "", 0, span, who);
        }
    }

    /// Reports finite values that became infinite.
    fn check_half(
        &mut self,
        frame: &Frame<'a>,
        (wide, narrow): (Handle<Expression>, &[u32]),
        span: Span,
        active: &[u32],
    ) {
        let wide = &frame.slots[wide.index()].data;
        for lane in active {
            for at in (*lane as usize..narrow.len()).step_by(self.lanes) {
                if f16::from_bits(narrow[at] as u16).is_infinite() && f32::from_bits(wide[at]).is_finite() {
                    let who = || [format!("invocation {lane}"), String::new()];
                    self.report(FindingKind::HalfOverflow, "", 0, span, who);
                }
            }
        }
    }
}

fn word(literal: Literal) -> u32 {
    match literal {
        Literal::F32(value) => value.to_bits(),
        Literal::F16(value) => u32::from(value.to_bits()),
        Literal::U32(value) => value,
        Literal::I32(value) => value as u32,
        Literal::Bool(value) => u32::from(value),
        other => panic!("literals such as {other:?} are not interpreted"),
    }
}
