//! Which tile suits which product.

use crate::DType;
use crate::gpu::{COOPERATIVE, Gpu, Variant};

/// The number of outputs is a multiple of four.
pub(crate) const WIDE: &str = "WIDE";
/// The result is sums of parts, to be summed.
pub(crate) const PARTIAL: &str = "PARTIAL";
/// The number of channels is no multiple of four.
const SCALAR: &str = "SCALAR";
/// Subgroups hold the sums as matrices.
const MATRICES: &str = "MATRICES";
/// They are of 8x8.
const SIDE_8: &str = "SIDE_8";

/// How products are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Each thread multiplies and adds in `f32`.
    Fma,
    /// Subgroups multiply matrices of `f16`, where the weight and `x` are both `f16` and sums are of a multiple of
    /// [`MATRIX_TERMS`] terms.
    Matrices {
        /// Of a matrix, 8 or 16.
        side: u32,
        /// Threads of a subgroup.
        subgroup: u32,
        /// By cooperative matrices, and not by an emulation for tests of what is around them.
        cooperative: bool,
    },
}

/// The terms that matrices load at once.
pub(crate) const MATRIX_TERMS: usize = 32;

impl Method {
    /// The fastest for `f16` on a GPU.
    ///
    /// That a thread's subgroup is its number over the size of subgroups is so where all of them have one size, so cooperative
    /// matrices are used only there.
    pub(crate) fn best(gpu: &Gpu) -> Method {
        let size = gpu.subgroup_size().filter(|size| gpu.has_f16() && [8, 16, 32].contains(size));
        match (gpu.cooperative_matrix(), size) {
            (Some(side), Some(subgroup)) if gpu.workgroup_memory() >= 32 << 10 => {
                Method::Matrices { side, subgroup, cooperative: true }
            }
            _ => Method::Fma,
        }
    }
}

/// How a workgroup shares its part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// By threads.
    Threads {
        threads_across: u32,
        threads_down: u32,
        /// Groups of four columns of a thread.
        across: u32,
        /// Rows of a thread.
        down: u32,
        /// Terms that are loaded at once.
        depth: u32,
    },
    /// By subgroups, of which each has four matrices down by two across.
    Subgroups { side: u32, subgroup: u32, cooperative: bool, across: u32, down: u32 },
}

const fn tile(threads_across: u32, threads_down: u32, across: u32, down: u32, depth: u32) -> Tile {
    Tile::Threads { threads_across, threads_down, across, down, depth }
}

// None of these takes more than 12 KiB of workgroup memory.
/// 128 x 128
const LARGE: Tile = tile(16, 16, 2, 8, 8);
/// 128 x 64
const TALL: Tile = tile(16, 16, 1, 8, 16);
/// 64 x 64
const MIDDLE: Tile = tile(16, 8, 1, 8, 16);
/// 32 x 64
const SMALL: Tile = tile(16, 8, 1, 4, 16);
/// 128 x 16
const NARROW: Tile = tile(4, 32, 1, 4, 16);

/// Workgroups that keep a large GPU busy: two for each of 128 processors.
const ENOUGH: usize = 256;

/// The terms of a part of a split sum, at least.
const LEAST_PART: usize = 256;

impl Tile {
    pub(crate) fn rows(self) -> usize {
        (match self {
            Tile::Threads { threads_down, down, .. } => threads_down * down,
            Tile::Subgroups { side, down, .. } => 4 * side * down,
        }) as usize
    }

    pub(crate) fn columns(self) -> usize {
        (match self {
            Tile::Threads { threads_across, across, .. } => threads_across * across * 4,
            Tile::Subgroups { side, across, .. } => 2 * side * across,
        }) as usize
    }

    /// How many there are of a product.
    pub(crate) fn count(self, rows: usize, outputs: usize) -> usize {
        rows.div_ceil(self.rows()) * outputs.div_ceil(self.columns())
    }

    /// The tile for a product, and how many parts its sums are split into: the largest tile of which there are enough, or
    /// the smallest, split.
    pub(crate) fn choose(method: Method, rows: usize, outputs: usize, terms: usize) -> (Tile, usize) {
        // A wide tile must not leave more than an eighth of its columns empty.
        let fits =
            |tile: &Tile| outputs.next_multiple_of(tile.columns()) * 8 <= outputs.next_multiple_of(64) * 9;
        let split = |tile: Tile| (tile, parts(tile.count(rows, outputs), terms));
        if let Method::Matrices { side, subgroup, cooperative } = method {
            let [large, small] = Tile::of_matrices(side, subgroup, cooperative);
            // A processor has room for one of the large.
            let is_large = fits(&large) && 2 * large.count(rows, outputs) >= ENOUGH;
            return if is_large { (large, 1) } else { split(small) };
        }
        if outputs <= NARROW.columns() {
            return split(NARROW);
        }
        let enough = |tile: &Tile| tile.count(rows, outputs) >= ENOUGH;
        match [LARGE, TALL, MIDDLE].into_iter().filter(fits).find(enough) {
            Some(tile) => (tile, 1),
            None if MIDDLE.count(rows, outputs) * parts(1, terms) >= ENOUGH => split(MIDDLE),
            None => split(SMALL),
        }
    }

    /// Of 16 x 16: 128 x 128 in 27 KiB of workgroup memory, and 64 x 64.
    fn of_matrices(side: u32, subgroup: u32, cooperative: bool) -> [Tile; 2] {
        [(2, 4), (1, 2)].map(|(down, across)| Tile::Subgroups { side, subgroup, cooperative, across, down })
    }

    /// The variant of a shader.
    pub(crate) fn variant(self, dtype: DType, weight: DType, channels: usize, outputs: usize) -> Variant {
        let variant = Variant::of_width(dtype, channels);
        let scalar = variant.vector == 1;
        let format = match weight {
            DType::F32 => "WEIGHT_F32",
            DType::F16 => "WEIGHT_F16",
            DType::BF16 => "WEIGHT_BF16",
            _ => unreachable!("{weight} was converted when it was packed"),
        };
        let variant = variant.flag(SCALAR, scalar).flag(WIDE, outputs.is_multiple_of(4));
        match self {
            Tile::Threads { threads_across, threads_down, across, down, depth } => variant
                .flag(format, true)
                .constant("THREADS_ACROSS", threads_across)
                .constant("THREADS_DOWN", threads_down)
                .constant("ACROSS", across)
                .constant("DOWN", down)
                .constant("DEPTH", depth),
            Tile::Subgroups { side, subgroup, cooperative, across, down } => variant
                .flag(MATRICES, true)
                .flag(COOPERATIVE, cooperative)
                .flag(SIDE_8, side == 8)
                .constant("SUBGROUP", subgroup)
                .constant("ACROSS", across)
                .constant("DOWN", down)
                .constant("DEPTH", MATRIX_TERMS as u32),
        }
    }
}

/// Into how many parts to split sums so that `tiles` become enough.
fn parts(tiles: usize, terms: usize) -> usize {
    let wanted = ENOUGH.div_ceil(tiles.max(1));
    wanted.min(terms / LEAST_PART).max(1)
}

/// Of every kind of tile, number format and width.
pub(crate) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for weight in [DType::F32, DType::F16, DType::BF16] {
            for tile in [LARGE, TALL, MIDDLE, SMALL, NARROW] {
                all.push(tile.variant(dtype, weight, 4, 4));
            }
            all.push(MIDDLE.variant(dtype, weight, 1, 4));
            all.push(NARROW.variant(dtype, weight, 4, 1));
            all.push(SMALL.variant(dtype, weight, 1, 1));
            all.push(SMALL.variant(dtype, weight, 4, 4).flag(PARTIAL, true));
            all.push(MIDDLE.variant(dtype, weight, 4, 1).flag(PARTIAL, true));
        }
    }
    for (side, subgroup) in [(16, 32), (8, 32), (8, 8)] {
        for cooperative in [true, false] {
            let [large, small] = Tile::of_matrices(side, subgroup, cooperative);
            all.push(large.variant(DType::F16, DType::F16, 4, 4));
            all.push(small.variant(DType::F16, DType::F16, 4, 4).flag(PARTIAL, true));
            all.push(small.variant(DType::F16, DType::F16, 4, 1));
        }
    }
    all
}
