//! The vector trait that every CPU kernel is written against, and its instances.
//!
//! A kernel is one generic function over [`Simd`]; [`Isa::run`] instantiates it for each instruction set and picks
//! one at run time. A token such as [`Avx2`] can be constructed only where the CPU has the instructions, so its methods
//! are safe to call: the token is the proof.
//!
//! To add an instruction set, write one file like `avx2.rs` and add its line to [`isa`]. Extensions of a set that the
//! vector trait does not need, such as dot products of bf16, are a [`Feature`] each: micro-kernels of the matrix product
//! may require them.

mod avx2;
mod avx512;
mod feature;
pub mod isa;
mod math;
mod neon;
mod scalar;
pub(crate) mod vendor;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use avx2::Avx2;
pub use avx512::Avx512;
pub use feature::Feature;
pub(crate) use feature::Requires;
pub use isa::{ISA_VARIABLE, Isa, SimdOp};
pub(crate) use math::exp2_below;
pub use math::{exp2, sigmoid, silu};
pub use neon::Neon;
pub use scalar::Scalar;

/// A token for an instruction set with vectors of [`Simd::LANES`] `f32` values.
///
/// Every method is marked `#[inline(always)]`, so that a kernel compiled with the instruction set enabled contains the
/// instructions themselves and no calls. The trait is sealed: kernels rely on what its instances promise.
///
/// # Safety
/// - A value of the type exists only where the CPU has the instructions that its methods execute.
/// - `LANES` divides [`MAX_LANES`].
/// - Loads and stores access exactly the values that they document.
pub unsafe trait Simd: sealed::Sealed + Copy + Send + Sync + 'static {
    /// A vector of `LANES` values.
    type F32: Copy;
    /// Number of `f32` values in a vector.
    const LANES: usize;
    /// Which instruction set this is.
    const ISA: Isa;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;

    /// Loads the first `LANES` values at `p`.
    ///
    /// # Safety
    /// - `p` must be valid for reads of `LANES` values; no alignment beyond that of `f32` is needed.
    unsafe fn load_ptr(self, p: *const f32) -> Self::F32;

    /// Stores `LANES` values at `p`.
    ///
    /// # Safety
    /// - `p` must be valid for writes of `LANES` values; no alignment beyond that of `f32` is needed.
    unsafe fn store_ptr(self, p: *mut f32, v: Self::F32);

    /// Eight columns of sixteen rows of `f32`: column `c` of the rows becomes the sixteen values at `to[c]`.
    ///
    /// # Safety
    /// - Each row must be valid for reads of eight little-endian values; no alignment is needed.
    /// - Each of `to` must be valid for writes of sixteen values. Several may be the same place, which then holds one of
    ///   their columns.
    #[inline(always)]
    unsafe fn transpose_f32(self, rows: &[*const u8; TRANSPOSE_ROWS], to: &[*mut f32; TRANSPOSE_COLUMNS]) {
        // SAFETY: the caller's.
        unsafe { transpose(rows, to, |_, bytes| f32::from_le_bytes(bytes)) }
    }

    /// As [`transpose_f32`](Simd::transpose_f32), of IEEE halves, which are widened: exact.
    ///
    /// # Safety
    /// - As there, with values of 16 bits.
    #[inline(always)]
    unsafe fn transpose_f16(self, rows: &[*const u8; TRANSPOSE_ROWS], to: &[*mut f32; TRANSPOSE_COLUMNS]) {
        // SAFETY: the caller's.
        unsafe { transpose(rows, to, |_, bytes| half::f16::from_le_bytes(bytes).to_f32()) }
    }

    /// As [`transpose_f32`](Simd::transpose_f32), of bfloat16, which are widened: exact.
    ///
    /// # Safety
    /// - As there, with values of 16 bits.
    #[inline(always)]
    unsafe fn transpose_bf16(self, rows: &[*const u8; TRANSPOSE_ROWS], to: &[*mut f32; TRANSPOSE_COLUMNS]) {
        // SAFETY: the caller's.
        unsafe { transpose(rows, to, |_, bytes| half::bf16::from_le_bytes(bytes).to_f32()) }
    }

    /// As [`transpose_f32`](Simd::transpose_f32), of signed bytes, each times the factor of its row.
    ///
    /// # Safety
    /// - As there, with values of 8 bits.
    #[inline(always)]
    unsafe fn transpose_i8(
        self,
        rows: &[*const u8; TRANSPOSE_ROWS],
        factors: &[f32; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        // SAFETY: the caller's.
        unsafe { transpose(rows, to, |row, bytes| factors[row] * f32::from(i8::from_le_bytes(bytes))) }
    }

    /// Sixteen IEEE halves, given as their bits, widened: exact.
    #[inline(always)]
    fn widen_f16(self, bits: [u16; TRANSPOSE_ROWS]) -> [f32; TRANSPOSE_ROWS] {
        bits.map(|bits| half::f16::from_bits(bits).to_f32())
    }

    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, fused where the instruction set fuses.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The smaller of the two; `b` if either is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of the two; `b` if either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `|a|`
    fn abs(self, a: Self::F32) -> Self::F32;
    /// The magnitude of `a` with the sign of `sign`.
    fn copysign(self, a: Self::F32, sign: Self::F32) -> Self::F32;
    /// `p 2^n` for normal results, where `n` is the integer whose sum with [`ROUND`] is `shifted`: `n` is in the lowest bits
    /// of that sum, and is added to the exponent of `p` from there.
    fn scale_exp2(self, p: Self::F32, shifted: Self::F32) -> Self::F32;
    /// Sum of the lanes, in a fixed order.
    fn reduce_add(self, a: Self::F32) -> f32;
    /// The largest lane.
    fn reduce_max(self, a: Self::F32) -> f32;

    /// Loads the first `LANES` values of `x`.
    ///
    /// # Panics
    /// If `x` is shorter than `LANES`.
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::F32 {
        assert!(x.len() >= Self::LANES);
        // SAFETY: the slice holds at least LANES values.
        unsafe { self.load_ptr(x.as_ptr()) }
    }

    /// Stores `v` into the first `LANES` values of `x`.
    ///
    /// # Panics
    /// If `x` is shorter than `LANES`.
    #[inline(always)]
    fn store(self, x: &mut [f32], v: Self::F32) {
        assert!(x.len() >= Self::LANES);
        // SAFETY: the slice holds at least LANES values.
        unsafe { self.store_ptr(x.as_mut_ptr(), v) }
    }

    /// Loads up to `LANES` values of `x`; missing lanes are `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::F32 {
        let mut lanes = [fill; MAX_LANES];
        let n = x.len().min(Self::LANES);
        lanes[..n].copy_from_slice(&x[..n]);
        self.load(&lanes)
    }

    /// Stores as many lanes of `v` as `x` has room for.
    #[inline(always)]
    fn store_partial(self, x: &mut [f32], v: Self::F32) {
        let mut lanes = [0.0; MAX_LANES];
        self.store(&mut lanes, v);
        let n = x.len().min(Self::LANES);
        x[..n].copy_from_slice(&lanes[..n]);
    }
}

/// Eight columns of sixteen rows of values of `N` bytes, each converted with its row's number.
///
/// # Safety
/// - As [`Simd::transpose_f32`], with values of `N` bytes.
#[inline(always)]
unsafe fn transpose<const N: usize>(
    rows: &[*const u8; TRANSPOSE_ROWS],
    to: &[*mut f32; TRANSPOSE_COLUMNS],
    convert: impl Fn(usize, [u8; N]) -> f32,
) {
    for (r, row) in rows.iter().enumerate() {
        for (c, to) in to.iter().enumerate() {
            // SAFETY: the caller guarantees eight values of the row and sixteen at the place; bytes need no alignment.
            unsafe { *to.add(r) = convert(r, row.add(c * N).cast::<[u8; N]>().read()) };
        }
    }
}

/// Prefetches the `len` values at `p` into the cache: a hint without effect on results, safe for any address.
#[inline]
pub(crate) fn prefetch(p: *const f32, len: usize) {
    const LINE: usize = 64 / size_of::<f32>();
    for at in (0..len).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; it reads nothing.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(at).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (p, at);
    }
}

/// 1.5 times 2^23. Adding it to a value of magnitude below 2^22 rounds the value to an integer, ties to even.
pub const ROUND: f32 = 12_582_912.0;

/// Bits of the fraction of an `f32`.
const FRACTION_BITS: i32 = 23;

/// Rows and columns that [`Simd::transpose_f32`] and its like take.
pub const TRANSPOSE_ROWS: usize = 16;
/// See [`TRANSPOSE_ROWS`].
pub const TRANSPOSE_COLUMNS: usize = 8;

/// Lanes of the widest vector (AVX-512).
pub const MAX_LANES: usize = 16;

mod sealed {
    /// Implemented by the tokens of this module only.
    pub trait Sealed {}
    impl Sealed for super::Scalar {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx2 {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx512 {}
    #[cfg(target_arch = "aarch64")]
    impl Sealed for super::Neon {}
}

#[cfg(test)]
mod tests;
