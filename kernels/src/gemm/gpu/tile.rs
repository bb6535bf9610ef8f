//! Which tile suits which product.

use crate::DType;
use crate::gpu::Variant;

/// The number of outputs is a multiple of four.
pub(crate) const WIDE: &str = "WIDE";
/// The result is sums of parts, to be summed.
pub(crate) const PARTIAL: &str = "PARTIAL";
/// The number of channels is no multiple of four.
const SCALAR: &str = "SCALAR";

/// How a workgroup shares its part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    threads_across: u32,
    threads_down: u32,
    /// Groups of four columns of a thread.
    across: u32,
    /// Rows of a thread.
    down: u32,
    /// Terms that are loaded at once.
    depth: u32,
}

const fn tile(threads_across: u32, threads_down: u32, across: u32, down: u32, depth: u32) -> Tile {
    Tile { threads_across, threads_down, across, down, depth }
}

// None takes more than 12 KiB of workgroup memory.
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
        (self.threads_down * self.down) as usize
    }

    pub(crate) fn columns(self) -> usize {
        (self.threads_across * self.across * 4) as usize
    }

    /// How many there are of a product.
    pub(crate) fn count(self, rows: usize, outputs: usize) -> usize {
        rows.div_ceil(self.rows()) * outputs.div_ceil(self.columns())
    }

    /// The tile for a product, and how many parts its sums are split into: the largest tile of which there are enough, or
    /// the smallest, split.
    pub(crate) fn choose(rows: usize, outputs: usize, terms: usize) -> (Tile, usize) {
        if outputs <= NARROW.columns() {
            return (NARROW, parts(NARROW.count(rows, outputs), terms));
        }
        // A tile of 128 columns must not leave more than an eighth of them empty.
        let fits =
            |tile: &&Tile| outputs.next_multiple_of(tile.columns()) * 8 <= outputs.next_multiple_of(64) * 9;
        let enough = |tile: &&Tile| tile.count(rows, outputs) >= ENOUGH;
        match [LARGE, TALL, MIDDLE].iter().filter(fits).find(enough) {
            Some(tile) => (*tile, 1),
            None if rows > SMALL.rows() && MIDDLE.count(rows, outputs) * parts(0, terms) >= ENOUGH => {
                (MIDDLE, parts(MIDDLE.count(rows, outputs), terms))
            }
            None => (SMALL, parts(SMALL.count(rows, outputs), terms)),
        }
    }

    /// The variant of a shader.
    pub(crate) fn variant(self, dtype: DType, weight: DType, channels: usize, outputs: usize) -> Variant {
        let variant = Variant::of_width(dtype, channels);
        let scalar = variant.vector == 1;
        let format = match weight {
            DType::F32 => "WEIGHT_F32",
            DType::F16 => "WEIGHT_F16",
            DType::BF16 => "WEIGHT_BF16",
        };
        variant
            .flag(format, true)
            .flag(SCALAR, scalar)
            .flag(WIDE, outputs.is_multiple_of(4))
            .constant("THREADS_ACROSS", self.threads_across)
            .constant("THREADS_DOWN", self.threads_down)
            .constant("ACROSS", self.across)
            .constant("DOWN", self.down)
            .constant("DEPTH", self.depth)
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
    all
}
