//! What the threads of a subgroup do together.
//!
//! Element `e` of a cooperative matrix, row by row, is part `e / size` of thread `e % size` of a subgroup of `size` threads.
//! Real hardware has other layouts, on which a shader cannot depend.

use super::finding::FindingKind;
use super::machine::{Frame, Machine, OUTSIDE};
use naga::{CollectiveOperation, CooperativeData, Expression, Handle, Span, SubgroupOperation, TypeInner};

/// Elements of a cooperative matrix as numbers, row by row.
type Elements = Vec<f32>;

impl<'a> Machine<'a> {
    /// The subgroups of which threads are active, each as its number and its threads in their order. Those that are not
    /// all active are reported.
    fn subgroups(&mut self, span: Span, active: &[u32]) -> Vec<(usize, Vec<usize>)> {
        let size = self.program.subgroup;
        let mut is_active = vec![false; self.lanes];
        active.iter().for_each(|lane| is_active[*lane as usize] = true);
        let mut all = Vec::new();
        for (number, threads) in self.of_place.clone().chunks(size).enumerate() {
            let threads: Vec<usize> = threads.iter().map(|lane| *lane as usize).collect();
            let count = threads.iter().filter(|lane| is_active[**lane]).count();
            if count > 0 && count < size {
                let who = || [format!("{count} threads of subgroup {number}"), String::new()];
                self.report(FindingKind::PartialSubgroup, "", 0, span, who);
            }
            if count > 0 {
                all.push((number, threads));
            }
        }
        all
    }

    pub(super) fn reduce(
        &mut self,
        frame: &mut Frame<'a>,
        (op, collective): (SubgroupOperation, CollectiveOperation),
        argument: Handle<Expression>,
        result: Handle<Expression>,
        span: Span,
        active: &[u32],
    ) {
        assert_eq!(collective, CollectiveOperation::Reduce, "scans are not interpreted");
        assert_eq!(self.program.scalars(self.inner(frame, argument)), 1, "subgroup operations of vectors");
        self.ensure(frame, argument, active);
        let subgroups = self.subgroups(span, active);
        let words = &frame.slots[argument.index()].data;
        let mut out = vec![0; self.lanes];
        for (_, threads) in subgroups {
            let values = threads.iter().map(|lane| f32::from_bits(words[*lane]));
            let all = match op {
                SubgroupOperation::Add => values.sum::<f32>(),
                SubgroupOperation::Max => values.fold(f32::NEG_INFINITY, f32::max),
                other => panic!("{other:?} of a subgroup is not interpreted"),
            };
            threads.iter().for_each(|lane| out[*lane] = all.to_bits());
        }
        frame.slots[result.index()].data = out;
    }

    /// Where a matrix is in memory, which all threads of a subgroup must agree about: the variable, the offset of its first
    /// element, and the distance between the elements of a row, and of a column. `None` if it lies outside.
    fn matrix_place(
        &mut self,
        frame: &Frame<'a>,
        data: &CooperativeData,
        (subgroup, threads): (usize, &[usize]),
        (kind, span): (FindingKind, Span),
    ) -> Option<(usize, [usize; 3])> {
        let (pointer, stride) = (&frame.slots[data.pointer.index()], &frame.slots[data.stride.index()].data);
        let super::machine::Root::Global(global) = pointer.root else {
            panic!("a matrix that is not shared")
        };
        let (offset, stride) = (pointer.data[threads[0]], stride[threads[0]] as usize);
        let agree = |lane: &usize| {
            pointer.data[*lane] == offset && frame.slots[data.stride.index()].data[*lane] as usize == stride
        };
        if !threads.iter().all(agree) {
            let who = || [format!("subgroup {subgroup}"), String::new()];
            self.report(FindingKind::PartialSubgroup, "", 0, span, who);
        }
        if offset & OUTSIDE != 0 {
            let root = pointer.root;
            self.report_outside(frame, kind, root, offset, Self::subgroup_agent(subgroup), span);
            return None;
        }
        // Strides count elements of the array.
        let stride = stride * self.program.pointee_scalars(self.inner(frame, data.pointer));
        let [down, across] = if data.row_major { [stride, 1] } else { [1, stride] };
        Some((global, [offset as usize, down, across]))
    }

    pub(super) fn load_matrix(
        &mut self,
        frame: &mut Frame<'a>,
        out: &mut Vec<u32>,
        (inner, data): (&TypeInner, &CooperativeData),
        span: Span,
        active: &[u32],
    ) {
        self.ensure(frame, data.pointer, active);
        self.ensure(frame, data.stride, active);
        let side = side(inner);
        out.resize(self.program.scalars(inner) * self.lanes, 0);
        for (subgroup, threads) in self.subgroups(span, active) {
            let agent = Self::subgroup_agent(subgroup);
            let place =
                self.matrix_place(frame, data, (subgroup, &threads), (FindingKind::ReadOutside, span));
            let Some((global, [first, down, across])) = place else { continue };
            for e in 0..side * side {
                let at = first + e / side * down + e % side * across;
                if at >= self.globals[global].words.len() {
                    let variable = self.globals[global].name.clone();
                    let who = || [format!("subgroup {subgroup}"), String::new()];
                    self.report(FindingKind::ReadOutside, &variable, at, span, who);
                    continue;
                }
                let word = self.read_shared(global, at, agent, span);
                out[e / threads.len() * self.lanes + threads[e % threads.len()]] = word;
            }
        }
    }

    pub(super) fn store_matrix(
        &mut self,
        frame: &mut Frame<'a>,
        target: Handle<Expression>,
        data: &CooperativeData,
        span: Span,
        active: &[u32],
    ) {
        for operand in [target, data.pointer, data.stride] {
            self.ensure(frame, operand, active);
        }
        let side = side(self.inner(frame, target));
        for (subgroup, threads) in self.subgroups(span, active) {
            let agent = Self::subgroup_agent(subgroup);
            let place =
                self.matrix_place(frame, data, (subgroup, &threads), (FindingKind::WriteOutside, span));
            let Some((global, [first, down, across])) = place else { continue };
            for e in 0..side * side {
                let at = first + e / side * down + e % side * across;
                if at >= self.globals[global].words.len() {
                    let variable = self.globals[global].name.clone();
                    let who = || [format!("subgroup {subgroup}"), String::new()];
                    self.report(FindingKind::WriteOutside, &variable, at, span, who);
                    continue;
                }
                let words = &frame.slots[target.index()].data;
                let word = words[e / threads.len() * self.lanes + threads[e % threads.len()]];
                self.write_shared(global, at, word, agent, span);
            }
        }
    }

    /// `c + a b`, in `f32`.
    pub(super) fn multiply_add(
        &mut self,
        frame: &mut Frame<'a>,
        out: &mut Vec<u32>,
        operands: [Handle<Expression>; 3],
        span: Span,
        active: &[u32],
    ) {
        operands.iter().for_each(|operand| self.ensure(frame, *operand, active));
        let side = side(self.inner(frame, operands[2]));
        out.resize(frame.slots[operands[2].index()].data.len(), 0);
        for (_, threads) in self.subgroups(span, active) {
            let [a, b, mut c] = operands.map(|operand| self.elements(frame, operand, &threads));
            for row in 0..side {
                for n in 0..side {
                    let factor = a[row * side + n];
                    let columns = &b[n * side..(n + 1) * side];
                    for (sum, x) in c[row * side..(row + 1) * side].iter_mut().zip(columns) {
                        *sum += factor * x;
                    }
                }
            }
            for (e, value) in c.iter().enumerate() {
                out[e / threads.len() * self.lanes + threads[e % threads.len()]] = value.to_bits();
            }
        }
    }

    fn elements(&self, frame: &Frame<'a>, matrix: Handle<Expression>, threads: &[usize]) -> Elements {
        let inner = self.inner(frame, matrix);
        let is_half = self.program.scalar(inner).width == 2;
        let words = &frame.slots[matrix.index()].data;
        let word = |e: usize| words[e / threads.len() * self.lanes + threads[e % threads.len()]];
        let number = |word: u32| match is_half {
            true => half::f16::from_bits(word as u16).to_f32(),
            false => f32::from_bits(word),
        };
        (0..side(inner) * side(inner)).map(|e| number(word(e))).collect()
    }
}

/// Rows and columns of a cooperative matrix.
fn side(inner: &TypeInner) -> usize {
    match inner {
        TypeInner::CooperativeMatrix { columns, rows, .. } if *columns as u32 == *rows as u32 => {
            *rows as usize
        }
        other => panic!("{other:?} is not a square matrix"),
    }
}
