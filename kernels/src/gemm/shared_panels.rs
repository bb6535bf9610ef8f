//! The right side of a product, packed before its tasks and for all of them.
//!
//! A task packs its own panels where that is little beside its rows' products. Tiles of AMX multiply so fast that a task of some
//! hundred rows would take longer to pack its panels than to use them.

use super::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use super::factor::{Factor, PanelSource};
use super::lhs::SumPart;
use crate::aligned::AlignedBuffer;
use crate::parallel::{self, SharedMut};
use crate::simd::Isa;
use std::ops::Range;

/// Bytes up to which the panels of a product are packed for all tasks. The largest layers of published transformers take 132 MB.
const MAX_BYTES: usize = 160 << 20;

/// Panels of one weight.
struct PanelRun {
    factor: usize,
    source: PanelSource,
    panels: Range<usize>,
    /// Panels of other runs before it.
    before: usize,
}

/// All panels of a product, each with all parts of its sum, one after the other.
pub(super) struct SharedPanels<A: Arithmetic> {
    buffer: AlignedBuffer<A::Rhs>,
    runs: Vec<PanelRun>,
    /// Where the parts of a panel begin, and where it ends.
    starts: Vec<usize>,
}

impl<A: Arithmetic> SharedPanels<A> {
    /// Packs the panels of all factors, unless they are too large. `taps` is the number of segments of a row.
    pub(super) fn pack(
        isa: Isa,
        kernels: &KernelSetOf<A>,
        factors: &[Factor<'_, A::Out>],
        parts: &[SumPart],
        taps: usize,
    ) -> Option<SharedPanels<A>> {
        let width = kernels.rhs.width;
        let mut starts = vec![0];
        for part in parts {
            starts.push(starts[starts.len() - 1] + kernels.rhs.len(taps * part.len));
        }
        let (mut runs, mut count) = (Vec::new(), 0);
        for (index, factor) in factors.iter().enumerate() {
            for (source, panels) in factor.panel_runs(width) {
                runs.push(PanelRun { factor: index, source, panels: panels.clone(), before: count });
                count += panels.len();
            }
        }
        let len = starts[parts.len()];
        if count * len * size_of::<A::Rhs>() > MAX_BYTES {
            return None;
        }
        let mut buffer = AlignedBuffer::new();
        A::with_scratch(|scratch: &mut Scratch<A>| std::mem::swap(&mut buffer, &mut scratch.shared));
        buffer.grow(count * len);
        let out = SharedMut::new(&mut buffer[..]);
        parallel::for_each(count, |index| {
            let run = &runs[runs.partition_point(|run| run.before <= index) - 1];
            let panel = run.panels.start + index - run.before;
            for (part, ends) in parts.iter().zip(starts.windows(2)) {
                // SAFETY: each part of a panel has a place of its own in the buffer, which has room for all of them.
                let out = unsafe {
                    let start = out.get().add(index * len + ends[0]);
                    std::slice::from_raw_parts_mut(start, ends[1] - ends[0])
                };
                (kernels.rhs.pack)(isa, factors[run.factor].layer(run.source).0, panel, *part, out);
            }
        });
        Some(SharedPanels { buffer, runs, starts })
    }

    /// A part of a panel.
    pub(super) fn part(
        &self,
        factor: usize,
        (source, panel): (PanelSource, usize),
        part: usize,
    ) -> &[A::Rhs] {
        let is_it =
            |run: &&PanelRun| run.factor == factor && run.source == source && run.panels.contains(&panel);
        let run = self.runs.iter().find(is_it).expect("all panels of the factors are packed");
        let start = (run.before + panel - run.panels.start) * self.starts[self.starts.len() - 1];
        &self.buffer[start + self.starts[part]..start + self.starts[part + 1]]
    }
}

impl<A: Arithmetic> Drop for SharedPanels<A> {
    /// The buffer waits for the thread's next product.
    fn drop(&mut self) {
        A::with_scratch(|scratch| std::mem::swap(&mut self.buffer, &mut scratch.shared));
    }
}
