//! AMX: products of tiles of 16 rows by 64 bytes (Intel Sapphire Rapids, 2023).
//!
//! 32 rows by two panels are four tiles of sums, from two tiles of the left side and two of the right: four `TDPBF16PS` for
//! four loads. Lines are in the order that the tiles need: the lines of 16 rows are a tile of the left side, the 16 lines
//! of a step one of the right; each is a kilobyte of neighbours, so that a load touches few pages.
//!
//! The tiles are configured for the products of a block and released after them, so that no thread keeps eight kilobytes of
//! registers for nothing. That takes a tenth of a microsecond, where a short product takes a quarter of one: a block is
//! therefore up to [`MAX_PANELS`] panels wide. Nothing between its products uses tiles: the compiler never does
//! by itself.

use super::{Bf16Block, Bf16Line, LINE, LINES_PER_STEP};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::{Isa, Simd, SimdOp};
use std::cell::RefCell;
use std::marker::PhantomData;

/// Rows of a packed tile: two tiles of the CPU.
pub(in crate::gemm) const ROWS: usize = 2 * TILE_ROWS;
/// Rows of a tile of the CPU.
pub(in crate::gemm) const TILE_ROWS: usize = 16;
/// Columns of the sums of a job: two panels.
pub(in crate::gemm) const WIDTH: usize = 2 * PANEL;
/// Panels of the widest kernel.
pub(in crate::gemm) const MAX_PANELS: usize = 8;

/// Some packed tiles of rows, one after the other, times two panels.
#[derive(Debug)]
#[repr(C)]
pub(in crate::gemm) struct TileJob {
    /// The rows, `[groups][steps][ROWS]`.
    pub(in crate::gemm) rows: *const Bf16Line,
    /// Packed tiles of rows, at least one.
    pub(in crate::gemm) groups: usize,
    /// Two panels, `[steps][16]`.
    pub(in crate::gemm) panels: [*const Bf16Line; 2],
    /// Steps of the sum, at least one.
    pub(in crate::gemm) steps: usize,
    /// `[groups][ROWS][WIDTH]`, overwritten.
    pub(in crate::gemm) sums: *mut f32,
    /// Bytes from a row of the sums to the next.
    pub(in crate::gemm) sums_stride: usize,
}

/// What multiplies tiles: the CPU, or a model of it in tests.
pub(in crate::gemm) trait TileUnit {
    /// What the rest of the kernel is compiled for.
    const ISA: Isa;

    /// Configures the tiles of this thread.
    ///
    /// # Safety
    /// - The CPU has what the unit needs.
    unsafe fn configure();

    /// Gives them up.
    ///
    /// # Safety
    /// - The CPU has what the unit needs.
    unsafe fn release();

    /// Computes the sums of a job.
    ///
    /// # Safety
    /// - The CPU has what the unit needs, and the tiles are configured.
    /// - The rows and panels are valid for reads, and the sums for writes, of what the job says.
    unsafe fn run(job: &TileJob);
}

/// The tiles of the CPU.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(in crate::gemm) struct Amx;

/// The operand of `LDTILECFG`.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes.
#[cfg(target_arch = "x86_64")]
static CONFIG: TileConfig = {
    let (mut bytes_of_row, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        bytes_of_row[tile] = size_of::<Bf16Line>() as u16;
        rows[tile] = TILE_ROWS as u8;
        tile += 1;
    }
    TileConfig { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_row, rows }
};

#[cfg(target_arch = "x86_64")]
impl TileUnit for Amx {
    const ISA: Isa = Isa::Avx512;

    unsafe fn configure() {
        // SAFETY: the caller guarantees the instruction; the operand is a configuration.
        unsafe {
            std::arch::asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly));
        }
    }

    unsafe fn release() {
        // SAFETY: the caller guarantees the instruction.
        unsafe { std::arch::asm!("tilerelease", options(nostack, nomem)) };
    }

    /// Sums are in tiles 0 to 3, the rows in 4 and 5, the panels in 6 and 7. A step fetches what the next one loads into L1: tiles
    /// are loaded from L2 at a third of the speed at which they are multiplied, and the CPU does not look ahead by itself.
    unsafe fn run(job: &TileJob) {
        // SAFETY: the caller guarantees the instructions and the memory. `rows` goes through all steps of all groups, which lie one
        // after the other. What is fetched past the end is not read.
        unsafe {
            std::arch::asm!(
                "2:",
                "mov {left}, [{job} + {left_at}]",
                "mov {right}, [{job} + {right_at}]",
                "mov {steps}, [{job} + {steps_at}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                ".irp at, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960",
                "prefetcht0 [{rows} + 2048 + \\at]",
                ".endr",
                "tileloadd tmm4, [{rows} + {line}*1]",
                ".irp at, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960",
                "prefetcht0 [{left} + 1024 + \\at]",
                ".endr",
                "tileloadd tmm6, [{left} + {line}*1]",
                ".irp at, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960",
                "prefetcht0 [{right} + 1024 + \\at]",
                ".endr",
                "tileloadd tmm7, [{right} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                ".irp at, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960",
                "prefetcht0 [{rows} + 3072 + \\at]",
                ".endr",
                "tileloadd tmm5, [{rows} + {line}*1 + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {rows}, 2048",
                "add {left}, 1024",
                "add {right}, 1024",
                "dec {steps}",
                "jnz 3b",
                "tilestored [{sums} + {stride}*1], tmm0",
                "tilestored [{sums} + {stride}*1 + 64], tmm1",
                "mov {left}, {stride}",
                "shl {left}, 4",
                "add {sums}, {left}",
                "tilestored [{sums} + {stride}*1], tmm2",
                "tilestored [{sums} + {stride}*1 + 64], tmm3",
                "add {sums}, {left}",
                "dec {groups}",
                "jnz 2b",
                job = in(reg) job,
                rows = inout(reg) job.rows => _,
                left = out(reg) _,
                right = out(reg) _,
                steps = out(reg) _,
                groups = inout(reg) job.groups => _,
                sums = inout(reg) job.sums => _,
                line = in(reg) size_of::<Bf16Line>(),
                stride = in(reg) job.sums_stride,
                left_at = const std::mem::offset_of!(TileJob, panels),
                right_at = const std::mem::offset_of!(TileJob, panels) + size_of::<usize>(),
                steps_at = const std::mem::offset_of!(TileJob, steps),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

// The assembly counts in bytes: a line, the 16 lines of a tile of rows or of a panel's step; and 16 rows of sums by a shift.
const _: () = assert!(size_of::<Bf16Line>() == 64 && LINES_PER_STEP == TILE_ROWS);
const _: () = assert!(size_of::<Bf16Line>() * TILE_ROWS == 1024);
const _: () = assert!(size_of::<f32>() * WIDTH == 128 && TILE_ROWS == 1 << 4);

/// Tiles that are configured while it lives.
struct Configured<U: TileUnit>(PhantomData<U>);

impl<U: TileUnit> Configured<U> {
    /// # Safety
    /// - The CPU has what the unit needs.
    unsafe fn new() -> Configured<U> {
        // SAFETY: the caller's.
        unsafe { U::configure() };
        Configured(PhantomData)
    }
}

impl<U: TileUnit> Drop for Configured<U> {
    fn drop(&mut self) {
        // SAFETY: `new` requires the CPU to have the unit.
        unsafe { U::release() };
    }
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`], on a CPU with what the unit needs; at most [`MAX_PANELS`] panels.
pub(in crate::gemm) unsafe fn compute<U: TileUnit>(block: &Bf16Block) {
    // SAFETY: the caller guarantees the unit.
    let tiles = unsafe { Configured::<U>::new() };
    for first in (0..block.columns).step_by(WIDTH) {
        let offset = |p: *const f32| if p.is_null() { p } else { p.wrapping_add(first) };
        let pair = Bf16Block {
            // The last panel may lie alone.
            panel: block.panel.wrapping_add(first / PANEL * block.panel_stride),
            c: block.c.wrapping_add(first),
            bias: offset(block.bias),
            residual: offset(block.residual),
            columns: WIDTH.min(block.columns - first),
            ..*block
        };
        // SAFETY: the caller guarantees the block, of which this is a part.
        unsafe { multiply(&pair, &tiles) };
    }
}

/// # Safety
/// As for [`compute`]; at most two panels.
unsafe fn multiply<U: TileUnit>(block: &Bf16Block, _: &Configured<U>) {
    thread_local! {
        static SUMS: RefCell<Vec<Bf16Sums>> = const { RefCell::new(Vec::new()) };
    }
    let groups = block.row_count.div_ceil(ROWS);
    // One panel is multiplied twice, and its second sums are dropped.
    let second = if block.columns > PANEL { block.panel_stride } else { 0 };
    let job = TileJob {
        rows: block.lhs.tiles,
        groups,
        // SAFETY: the caller guarantees both panels.
        panels: [block.panel, unsafe { block.panel.add(second) }],
        steps: block.lhs.terms.div_ceil(LINE),
        sums: block.c,
        sums_stride: block.c_stride * size_of::<f32>(),
    };
    let is_added = block.accumulate || !block.bias.is_null() || !block.residual.is_null();
    if !is_added && block.columns == WIDTH && block.row_count.is_multiple_of(ROWS) {
        // SAFETY: the caller guarantees the rows and panels in the order of the set, and all of these rows and columns of the
        // output.
        return unsafe { U::run(&job) };
    }
    SUMS.with_borrow_mut(|sums| {
        sums.resize(groups.max(sums.len()), Bf16Sums([0.0; ROWS * WIDTH]));
        let (sums_stride, place) = (WIDTH * size_of::<f32>(), sums.as_mut_ptr().cast());
        // SAFETY: as above, and the sums have room for all groups.
        unsafe {
            U::run(&TileJob { sums: place, sums_stride, ..job });
            U::ISA.run(StoreSums::new(block, &sums[..groups]));
        }
    });
}

/// Sums of a packed tile of rows.
#[derive(Clone)]
#[repr(C, align(64))]
struct Bf16Sums([f32; ROWS * WIDTH]);

/// Writes the sums of a block.
struct StoreSums<'a> {
    block: &'a Bf16Block,
    sums: &'a [Bf16Sums],
}

impl<'a> StoreSums<'a> {
    /// # Safety
    /// As for [`multiply`]; there are sums for all rows of the block.
    unsafe fn new(block: &'a Bf16Block, sums: &'a [Bf16Sums]) -> StoreSums<'a> {
        StoreSums { block, sums }
    }
}

impl SimdOp for StoreSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (group, sums) in self.sums.iter().enumerate() {
            // SAFETY: `new` requires the caller's promises for the block, and a group begins with one of its rows.
            unsafe { store_rows(s, self.block, group * ROWS, &sums.0, WIDTH) };
        }
    }
}
