//! How the work is cut for the caches of a CPU, and how `V` lies in memory. No bit of a result depends on it.

use super::transform::POINTS;
use super::{PART, PLANE_GAP, gather};
use crate::conv2d::ConvWeight;
use crate::gemm::PANEL;
use crate::gemm::arithmetic::Arithmetic;
use crate::gemm::single_precision::SinglePrecision;
use crate::simd::{Isa, vendor};
use std::ops::Range;

/// What depends on the caches of a CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    /// Maximum tiles of a block: `M` takes 2.3 KB for each tile and panel. A multiple of the rows of the micro-kernel's tile
    /// on every instruction set; 128, which is not a multiple of 6, took up to a fifth more time.
    pub(super) max_tiles: usize,
    /// Minimum tiles of a block that a thread has for itself. With fewer it is better to share a block and to transform each
    /// filter once.
    pub(super) min_own_tiles: usize,
    /// Whether the parts of a sum lie one after the other in `V`, so that a product reads one run of memory.
    pub(super) is_by_part: bool,
}

impl Blocking {
    /// Intel's last-level cache is further away, and its prefetchers follow runs of memory: there `U`, `M` and a part of `V`
    /// are to fit L2 together. Each half of that gained 5 to 10 % (docs/performance.md).
    pub(super) fn of_this_cpu() -> Blocking {
        if vendor::is_intel() {
            Blocking { max_tiles: 48, min_own_tiles: 40, is_by_part: true }
        } else {
            Blocking { max_tiles: 96, min_own_tiles: 64, is_by_part: false }
        }
    }
}

/// Channels of a part of a sum whose task has so many panels.
pub(super) fn sum_part(channels: usize, panels: usize) -> usize {
    channels.div_ceil(channels.div_ceil(PART / panels))
}

/// Channels of a part of `V`: of a part of the sums if all tasks have the same, or else all.
pub(super) fn v_part(blocking: Blocking, isa: Isa, weight: &ConvWeight) -> usize {
    let channels = weight.in_channels();
    let panels = weight.out_channels().div_ceil(PANEL);
    let group = SinglePrecision::kernels(isa).for_panels(panels).columns / PANEL;
    let part = sum_part(channels, group);
    let last = match panels % group {
        0 => group,
        rest => rest,
    };
    if blocking.is_by_part && sum_part(channels, last) == part { part } else { channels }
}

/// Where the values of a block are in `V`.
#[derive(Clone, Copy, Debug)]
pub(super) struct VLayout {
    /// Channels of a part.
    pub(super) part: usize,
    /// Values from a tile to the next: the channels of a part, rounded up to whole vectors.
    pub(super) stride: usize,
    /// Values from a plane to the next; each part has 36.
    pub(super) plane: usize,
}

impl VLayout {
    pub(super) fn new(part: usize, tiles: usize) -> VLayout {
        let stride = part.next_multiple_of(PANEL);
        VLayout { part, stride, plane: tiles * stride + PLANE_GAP }
    }

    /// Values of all parts.
    pub(super) fn len(self, channels: usize) -> usize {
        channels.div_ceil(self.part) * POINTS * self.plane
    }

    /// The value of a channel in a plane, for the first tile.
    pub(super) fn offset(self, point: usize, channel: usize) -> usize {
        (channel / self.part * POINTS + point) * self.plane + channel % self.part
    }

    /// Channels that a task gathers: all of a part if they are few.
    pub(super) fn chunks(self, channels: usize) -> Vec<Range<usize>> {
        let width = if self.part <= gather::CHANNELS { self.part } else { gather::CHANNELS_OF_LONG_PART };
        let parts = (0..channels).step_by(self.part).map(|from| from..channels.min(from + self.part));
        parts
            .flat_map(|part| {
                let chunk = move |from| from..part.end.min(from + width);
                part.clone().step_by(width).map(chunk)
            })
            .collect()
    }
}
