//! Attention with cooperative matrices: which heads suit them, and how they are divided.

use crate::DType;
use crate::gemm::gpu::tile::Method;
use crate::gpu::{COOPERATIVE, ShaderVariant};

/// Maximum columns of a head: more do not fit in 32 KiB of workgroup memory.
const MAX_COLUMNS: usize = 160;

/// Maximum threads of a workgroup.
const THREADS: u32 = 256;

/// How a workgroup divides its work, as described in `attention_matrices.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MatrixTile {
    /// Rows and columns of a matrix, 8 or 16.
    side: u32,
    /// Threads of a subgroup.
    subgroup: u32,
    /// Subgroups, side by side.
    subgroups: u32,
    /// Matrices of queries, 4 or 2.
    down: u32,
    /// Matrices of columns of each subgroup, 1 or 2.
    across: u32,
    /// Whether cooperative matrices are used, or an emulation for tests of the code around them.
    cooperative: bool,
}

impl MatrixTile {
    /// The tile for a method, if it uses matrices and the heads are neither too wide nor of a size that is not a
    /// multiple of four.
    pub(super) fn of(method: Method, dtype: DType, head_dim: usize) -> Option<MatrixTile> {
        match method {
            Method::Matrices { side, subgroup, cooperative } if dtype == DType::F16 => {
                MatrixTile::new(side, subgroup, head_dim).map(|tile| MatrixTile { cooperative, ..tile })
            }
            _ => None,
        }
    }

    /// The tile for heads of `head_dim`, if they are suitable.
    fn new(side: u32, subgroup: u32, head_dim: usize) -> Option<MatrixTile> {
        if head_dim > MAX_COLUMNS || !head_dim.is_multiple_of(4) {
            return None;
        }
        let columns = (head_dim as u32).div_ceil(side);
        // With few subgroups, each loads the weights for more columns; with many, there are more threads for the rest.
        let across = if columns > 5 { 2 } else { 1 };
        let subgroups = columns.div_ceil(across);
        // 64 queries if they fit.
        let down = if side == 16 && columns > 5 { 2 } else { 4 };
        let tile = MatrixTile { side, subgroup, subgroups, down, across, cooperative: true };
        (subgroup * subgroups <= THREADS).then_some(tile)
    }

    /// Number of queries of a tile.
    pub(super) fn queries(self) -> usize {
        (self.down * self.side) as usize
    }

    pub(super) fn variant(self) -> ShaderVariant {
        ShaderVariant::new(DType::F16, 4)
            .flag(COOPERATIVE, self.cooperative)
            .flag("SIDE_8", self.side == 8)
            .flag("DOWN_4", self.down == 4)
            .flag("ACROSS_2", self.across == 2)
            .constant("SUBGROUP", self.subgroup)
            .constant("SUBGROUPS_ACROSS", self.subgroups)
    }
}

/// The variants for every head size and kind of GPU.
pub(super) fn variants() -> Vec<ShaderVariant> {
    let mut all = Vec::new();
    for (side, subgroup) in [(16, 32), (16, 16), (8, 32), (8, 8)] {
        for head_dim in (4..=MAX_COLUMNS).step_by(4) {
            let Some(tile) = MatrixTile::new(side, subgroup, head_dim) else { continue };
            for cooperative in [true, false] {
                let variant = MatrixTile { cooperative, ..tile }.variant();
                if !all.contains(&variant) {
                    all.push(variant);
                }
            }
        }
    }
    all
}

/// Tiles fit in the workgroup memory that every GPU with matrices has, and all threads load the same number of vectors.
#[test]
fn tiles_fit() {
    for (side, subgroup) in [(16, 32), (16, 16), (16, 8), (8, 32), (8, 16), (8, 8)] {
        for tile in
            (4..=MAX_COLUMNS).step_by(4).filter_map(|head_dim| MatrixTile::new(side, subgroup, head_dim))
        {
            let MatrixTile { subgroups, down, across, .. } = tile;
            let (queries, width) = (down * side, subgroups * across * side);
            let scores = (queries * 36).max(subgroups * side * side);
            let bytes = 2 * (queries + 32) * (width + 8) + 2 * queries * 40 + 4 * (scores + queries);
            assert!(bytes <= 32 << 10, "{bytes} bytes of {tile:?}");
            for rows in [32, queries] {
                assert!((rows * width / 4).is_multiple_of(subgroup * subgroups), "loads of {tile:?}");
            }
        }
    }
}
