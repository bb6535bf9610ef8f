//! The choice of a tile for a product.

use crate::DType;
use crate::activation::{Activation, gpu::number};
use crate::gpu::{COOPERATIVE, Gpu, ShaderVariant};

/// The number of outputs is a multiple of four.
pub(crate) const WIDE: &str = "WIDE";
/// The result is sums of parts, to be summed.
pub(crate) const PARTIAL: &str = "PARTIAL";
/// The sums end in an activation.
const ACTIVATED: &str = "ACTIVATED";
/// The number of channels is not a multiple of four.
const SCALAR: &str = "SCALAR";
/// Subgroups hold the sums as matrices.
const MATRICES: &str = "MATRICES";
/// The matrices are 8x8, not 16x16.
const SIDE_8: &str = "SIDE_8";

/// How the sums of products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Each thread multiplies and adds in `f32`.
    Fma,
    /// Subgroups multiply matrices of `f16`, where the weight and `x` are both `f16` and sums are of a multiple of
    /// [`MATRIX_TERMS`] terms.
    Matrices {
        /// Rows and columns of a matrix, 8 or 16.
        side: u32,
        /// Threads of a subgroup.
        subgroup: u32,
        /// Whether cooperative matrices are used, or an emulation for tests of the code around them.
        cooperative: bool,
    },
}

/// The terms that are loaded at once for matrices.
pub(crate) const MATRIX_TERMS: usize = 32;

impl Method {
    /// The fastest method for `f16` on a GPU.
    ///
    /// The shaders compute the subgroup of a thread as its number divided by the subgroup size. That holds only if all
    /// subgroups have the same size, so cooperative matrices are used only then.
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

/// How a workgroup divides its part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProductTile {
    /// Among threads.
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
    /// Among subgroups, each with four matrices down by two across.
    Subgroups { side: u32, subgroup: u32, cooperative: bool, across: u32, down: u32 },
}

const fn tile(threads_across: u32, threads_down: u32, across: u32, down: u32, depth: u32) -> ProductTile {
    ProductTile::Threads { threads_across, threads_down, across, down, depth }
}

// None of these takes more than 12 KiB of workgroup memory.
/// 128 x 128
const LARGE: ProductTile = tile(16, 16, 2, 8, 8);
/// 128 x 64
const TALL: ProductTile = tile(16, 16, 1, 8, 16);
/// 64 x 64
const MIDDLE: ProductTile = tile(16, 8, 1, 8, 16);
/// 32 x 64
const SMALL: ProductTile = tile(16, 8, 1, 4, 16);
/// 128 x 16
const NARROW: ProductTile = tile(4, 32, 1, 4, 16);

/// Enough workgroups to keep a large GPU busy: two for each of 128 processors.
const ENOUGH: usize = 256;

/// Minimum terms of a part of a split sum.
const MIN_PART: usize = 256;

impl ProductTile {
    pub(crate) fn rows(self) -> usize {
        (match self {
            ProductTile::Threads { threads_down, down, .. } => threads_down * down,
            ProductTile::Subgroups { side, down, .. } => 4 * side * down,
        }) as usize
    }

    pub(crate) fn columns(self) -> usize {
        (match self {
            ProductTile::Threads { threads_across, across, .. } => threads_across * across * 4,
            ProductTile::Subgroups { side, across, .. } => 2 * side * across,
        }) as usize
    }

    /// The number of tiles of a product.
    pub(crate) fn count(self, rows: usize, outputs: usize) -> usize {
        rows.div_ceil(self.rows()) * outputs.div_ceil(self.columns())
    }

    /// The tile for a product, and the number of parts into which its sums are split: the largest tile that gives
    /// [`ENOUGH`] workgroups, or the smallest with split sums.
    pub(crate) fn choose(method: Method, rows: usize, outputs: usize, terms: usize) -> (ProductTile, usize) {
        // A wide tile must not leave more than an eighth of its columns empty.
        let fits = |tile: &ProductTile| {
            outputs.next_multiple_of(tile.columns()) * 8 <= outputs.next_multiple_of(64) * 9
        };
        let split = |tile: ProductTile| (tile, parts(tile.count(rows, outputs), terms));
        if let Method::Matrices { side, subgroup, cooperative } = method {
            let [large, small] = ProductTile::of_matrices(side, subgroup, cooperative);
            // A processor has room for only one large tile.
            let is_large = fits(&large) && 2 * large.count(rows, outputs) >= ENOUGH;
            return if is_large { (large, 1) } else { split(small) };
        }
        if outputs <= NARROW.columns() {
            return split(NARROW);
        }
        let enough = |tile: &ProductTile| tile.count(rows, outputs) >= ENOUGH;
        match [LARGE, TALL, MIDDLE].into_iter().filter(fits).find(enough) {
            Some(tile) => (tile, 1),
            None if MIDDLE.count(rows, outputs) * parts(1, terms) >= ENOUGH => split(MIDDLE),
            None => split(SMALL),
        }
    }

    /// The tile of the same size in which each thread has columns of values and of their gates. Matrices are two across
    /// in any case.
    pub(crate) fn gated(self) -> ProductTile {
        match self {
            ProductTile::Threads { threads_across, threads_down, across: 1, down, depth } => {
                tile(threads_across / 2, threads_down * 2, 2, down / 2, depth)
            }
            tile => tile,
        }
    }

    /// With 16 x 16 matrices: 128 x 128 in 27 KiB of workgroup memory, and 64 x 64.
    fn of_matrices(side: u32, subgroup: u32, cooperative: bool) -> [ProductTile; 2] {
        [(2, 4), (1, 2)].map(|(down, across)| ProductTile::Subgroups {
            side,
            subgroup,
            cooperative,
            across,
            down,
        })
    }

    /// The variant of a shader.
    pub(crate) fn variant(
        self,
        dtype: DType,
        weight: DType,
        channels: usize,
        outputs: usize,
    ) -> ShaderVariant {
        let variant = ShaderVariant::of_width(dtype, channels);
        let scalar = variant.vector == 1;
        let format = match weight {
            DType::F32 => "WEIGHT_F32",
            DType::F16 => "WEIGHT_F16",
            DType::BF16 => "WEIGHT_BF16",
            _ => unreachable!("{weight} was converted when it was packed"),
        };
        let variant = variant.flag(SCALAR, scalar).flag(WIDE, outputs.is_multiple_of(4));
        match self {
            ProductTile::Threads { threads_across, threads_down, across, down, depth } => variant
                .flag(format, true)
                .constant("THREADS_ACROSS", threads_across)
                .constant("THREADS_DOWN", threads_down)
                .constant("ACROSS", across)
                .constant("DOWN", down)
                .constant("DEPTH", depth),
            ProductTile::Subgroups { side, subgroup, cooperative, across, down } => variant
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

/// The number of parts into which to split sums so that there are [`ENOUGH`] workgroups.
fn parts(tiles: usize, terms: usize) -> usize {
    let wanted = ENOUGH.div_ceil(tiles.max(1));
    wanted.min(terms / MIN_PART).max(1)
}

/// The variant of a shader whose sums end in an activation, if there is one.
pub(super) fn activated(plain: ShaderVariant, kind: Option<Activation>) -> ShaderVariant {
    match kind {
        Some(kind) => plain.flag(ACTIVATED, true).with("KIND", number(kind)),
        None => plain,
    }
}

/// The sizes of matrices and of subgroups in tests.
const MATRICES_AND_SUBGROUPS: [(u32, u32); 3] = [(16, 32), (8, 32), (8, 8)];

/// The variants for every kind of tile, as `form` makes it, and dtype of products with an activation, but for that.
pub(super) fn wide_variants(form: impl Fn(ProductTile) -> ProductTile) -> Vec<ShaderVariant> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for weight in [DType::F32, DType::F16, DType::BF16] {
            all.extend([LARGE, TALL, MIDDLE, SMALL, NARROW].map(|t| form(t).variant(dtype, weight, 4, 4)));
        }
    }
    for ((side, subgroup), cooperative) in
        MATRICES_AND_SUBGROUPS.into_iter().flat_map(|m| [(m, true), (m, false)])
    {
        let tiles = ProductTile::of_matrices(side, subgroup, cooperative);
        all.extend(tiles.map(|t| t.variant(DType::F16, DType::F16, 4, 4)));
    }
    all
}

/// The variants for every kind of tile, dtype and width.
pub(crate) fn variants() -> Vec<ShaderVariant> {
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
    for (side, subgroup) in MATRICES_AND_SUBGROUPS {
        for cooperative in [true, false] {
            let [large, small] = ProductTile::of_matrices(side, subgroup, cooperative);
            all.push(large.variant(DType::F16, DType::F16, 4, 4));
            all.push(small.variant(DType::F16, DType::F16, 4, 4).flag(PARTIAL, true));
            all.push(small.variant(DType::F16, DType::F16, 4, 1));
        }
    }
    all
}
