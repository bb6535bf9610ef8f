//! The instructions of x86-64 that multiply bf16 and 8-bit integers.

use super::{CHAINS, CpuPeak, PeakLoop, ROUNDS, operations};
use crate::precision::Precision;
use crate::simd::{Feature, Isa, Requires};
use std::arch::asm;
use std::arch::x86_64::*;
use std::hint::black_box;

pub(super) const TDPBF16PS: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Avx512, features: &[Feature::AmxBf16] },
    precision: Precision::Bf16,
    peak: CpuPeak {
        instruction: "TDPBF16PS",
        operations: 2 * TILE_SUMS * TILE_ROUNDS as u64 * TILE_MULTIPLY_ADDS,
        compute: tdpbf16ps,
    },
};

pub(super) const VDPBF16PS: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Avx512, features: &[Feature::Avx512Bf16] },
    precision: Precision::Bf16,
    peak: CpuPeak { instruction: "VDPBF16PS", operations: operations(32), compute: vdpbf16ps },
};

pub(super) const VPDPBUSD_512: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Avx512, features: &[Feature::Avx512Vnni] },
    precision: Precision::Int8,
    peak: CpuPeak { instruction: "VPDPBUSD", operations: operations(64), compute: vpdpbusd_512 },
};

pub(super) const VPDPBUSD_256: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Avx2, features: &[Feature::AvxVnni] },
    precision: Precision::Int8,
    peak: CpuPeak { instruction: "VPDPBUSD", operations: operations(32), compute: vpdpbusd_256 },
};

/// Tiles of sums, each independent of the others.
const TILE_SUMS: u64 = 4;
/// Rounds of a run: about 5 ms with 16 cycles a tile.
const TILE_ROUNDS: u32 = 250_000;
/// Multiply-adds of an instruction: 16 rows by 16 columns by 32 terms.
const TILE_MULTIPLY_ADDS: u64 = 16 * 16 * 32;

/// # Safety
/// - The CPU has AMX with bf16, and the system lets it be used.
unsafe fn tdpbf16ps() -> f32 {
    // 1.0 as bf16, in eight tiles of 16 rows of 64 bytes
    let ones = [0x3f80_u16; 16 * 32];
    let mut sums = [[0f32; 256]; TILE_SUMS as usize];
    let mut config = [0u8; 64];
    config[0] = 1;
    for tile in 0..8 {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = 16;
    }
    // SAFETY: the caller's; the tiles are read from and written to arrays of their size.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tileloadd tmm4, [{ones} + {line}*1]",
            "tileloadd tmm5, [{ones} + {line}*1]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tdpbf16ps tmm1, tmm4, tmm5",
            "tdpbf16ps tmm2, tmm4, tmm5",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "dec {rounds:e}",
            "jnz 2b",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            "tilerelease",
            config = in(reg) config.as_ptr(),
            ones = in(reg) ones.as_ptr(),
            line = in(reg) 64usize,
            rounds = inout(reg) TILE_ROUNDS => _,
            sums = in(reg) sums.as_mut_ptr(),
            options(nostack),
        );
    }
    sums.as_flattened().iter().sum()
}

/// # Safety
/// - The CPU has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn vdpbf16ps() -> f32 {
    // SAFETY: both types are 512 bits.
    let ones: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi16(black_box(0x3f80))) };
    let mut sums = [_mm512_setzero_ps(); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, ones, ones);
        }
    }
    sums.iter().map(|sum| _mm512_reduce_add_ps(*sum)).sum()
}

/// # Safety
/// - The CPU has AVX512-VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vpdpbusd_512() -> f32 {
    let ones = _mm512_set1_epi8(black_box(1));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, ones, ones);
        }
    }
    sums.iter().map(|sum| _mm512_reduce_add_ps(_mm512_cvtepi32_ps(*sum))).sum()
}

/// # Safety
/// - The CPU has AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn vpdpbusd_256() -> f32 {
    let ones = _mm256_set1_epi8(black_box(1));
    let mut sums = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_dpbusd_avx_epi32(*sum, ones, ones);
        }
    }
    let mut lanes = [0f32; 8];
    // SAFETY: the array has eight lanes.
    sums.iter()
        .map(|sum| {
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_cvtepi32_ps(*sum)) };
            lanes.iter().sum::<f32>()
        })
        .sum()
}
