//! Attention without cooperative matrices: how it is divided.

use crate::DType;
use crate::gpu::ShaderVariant;

/// Maximum columns of the output of one command: wider heads take several.
pub(super) const MAX_COLUMNS: usize = 512;

pub(super) fn of_head(dtype: DType, head_dim: usize) -> ShaderVariant {
    ShaderVariant::of_width(dtype, head_dim).flag("SCALAR", !head_dim.is_multiple_of(4))
}

/// How a workgroup divides its work, as described in `attention.wgsl`; columns are vectors of four.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionTile {
    query_threads: usize,
    key_threads: usize,
    keys_each: usize,
    columns_each: usize,
    chunk: usize,
    step: usize,
}

impl AttentionTile {
    /// For heads of `head_dim` and workgroup memory of `room` bytes.
    ///
    /// Up to 160 columns, 64 queries: a thread has four of them and a share of the columns, at most 64 values. For wider
    /// heads, 32 queries.
    pub(super) fn new(head_dim: usize, room: usize) -> AttentionTile {
        let columns = head_dim.min(MAX_COLUMNS).div_ceil(4);
        let [query_threads, key_threads, keys_each] = match columns {
            // The head sizes of Stable Diffusion that are multiples of 40 fill the columns of ten threads.
            10 | 20 | 30 | 33..=40 => [16, 10, 4],
            ..=32 => [16, 8, 4],
            _ => [8, 32, 2],
        };
        let columns_each = columns.div_ceil(key_threads);
        let all = head_dim.div_ceil(4);
        let chunk = all.div_ceil(all.div_ceil(8));
        let keys = key_threads * keys_each;
        // Wide rows of values need more than 16 KiB, else a step would be short; long steps gain nothing.
        let room = room.min(if key_threads == 32 { 24 << 10 } else { 16 << 10 }) / 16;
        let fits = |step: usize| {
            keys.is_multiple_of(step) && keys * query_threads + step * columns_each * key_threads <= room
        };
        let step = (1..=20).rev().find(|step| fits(*step)).expect("a step of one value fits");
        AttentionTile { query_threads, key_threads, keys_each, columns_each, chunk, step }
    }

    pub(super) fn queries(&self) -> usize {
        4 * self.query_threads
    }

    pub(super) fn variant(&self, dtype: DType, head_dim: usize, [part, bias]: [bool; 2]) -> ShaderVariant {
        of_head(dtype, head_dim)
            .flag("PART", part)
            .flag("BIAS", bias)
            .constant("QUERY_THREADS", self.query_threads as u32)
            .constant("KEY_THREADS", self.key_threads as u32)
            .constant("KEYS_EACH", self.keys_each as u32)
            .constant("COLUMNS_EACH", self.columns_each as u32)
            .constant("CHUNK", self.chunk as u32)
            .constant("STEP", self.step as u32)
    }
}

/// The variants for every head size, over a part of the keys or over all, with a bias or without.
pub(super) fn variants(flags: [bool; 2]) -> Vec<ShaderVariant> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for head_dim in [1, 8, 40, 64, 80, 97, 128, 160, 200, 511, 512] {
            for room in [16352, 32 << 10] {
                let variant = AttentionTile::new(head_dim, room).variant(dtype, head_dim, flags);
                if !all.contains(&variant) {
                    all.push(variant);
                }
            }
        }
    }
    all
}
