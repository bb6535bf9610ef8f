//! What the CPU says of itself beyond the features that Rust detects.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

/// Whether the CPU is one of AMD's, or of a licensee of theirs.
pub(crate) fn is_amd() -> bool {
    matches!(&name(), b"AuthenticAMD" | b"HygonGenuine")
}

/// Whether the CPU is one of Intel's.
pub(crate) fn is_intel() -> bool {
    &name() == b"GenuineIntel"
}

/// The vendor's name as the CPU gives it; zeros where it gives none.
fn name() -> [u8; 12] {
    #[cfg(target_arch = "x86_64")]
    {
        static NAME: OnceLock<[u8; 12]> = OnceLock::new();
        *NAME.get_or_init(|| {
            let words = cpuid(0, 0).map_or([0; 3], |[_, ebx, ecx, edx]| [ebx, edx, ecx]);
            let mut name = [0; 12];
            for (to, word) in name.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            name
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    [0; 12]
}

/// Whether tiles of bf16 can be multiplied (AMX): the CPU has the instructions, the operating system keeps the registers,
/// and it gives them to this process, which has to ask for them.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_amx_bf16() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(detect_amx_bf16)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn detect_amx_bf16() -> bool {
    /// Bits of CPUID 7, EDX: AMX-BF16 and AMX-TILE.
    const INSTRUCTIONS: u32 = 1 << 22 | 1 << 24;
    /// Bit of CPUID 1, ECX: the operating system manages extended registers.
    const OSXSAVE: u32 = 1 << 27;
    /// Bits of XCR0: the configuration of the tiles, and the tiles.
    const REGISTERS: u64 = 1 << 17 | 1 << 18;
    let Some([_, _, _, edx]) = cpuid(7, 0) else { return false };
    let has_xgetbv = cpuid(1, 0).is_some_and(|[_, _, ecx, _]| ecx & OSXSAVE != 0);
    if edx & INSTRUCTIONS != INSTRUCTIONS || !has_xgetbv {
        return false;
    }
    // SAFETY: the operating system has enabled the instruction.
    let enabled = unsafe { enabled_registers() };
    enabled & REGISTERS == REGISTERS && request_tiles()
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn detect_amx_bf16() -> bool {
    false
}

/// EAX, EBX, ECX and EDX of a leaf; `None` where the CPU has not that many.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "unsafe up to Rust 1.93")]
fn cpuid(leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
    // SAFETY: every x86-64 CPU has the instruction.
    let max = unsafe { __cpuid(0) }.eax;
    (leaf <= max).then(|| {
        // SAFETY: as above.
        let found = unsafe { __cpuid_count(leaf, subleaf) };
        [found.eax, found.ebx, found.ecx, found.edx]
    })
}

/// The register sets that the operating system keeps.
///
/// # Safety
/// - It has enabled `XGETBV`.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "xsave")]
unsafe fn enabled_registers() -> u64 {
    // SAFETY: the caller guarantees the instruction; register 0 exists.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the tiles, for all threads of the process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. A
/// kernel that does not know of them answers with an error.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn request_tiles() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call takes two numbers and changes nothing in memory; the kernel overwrites RCX and R11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}
