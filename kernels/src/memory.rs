//! Giving memory back to the system.

/// Gives memory that was freed back to the system where the allocator would keep it: glibc keeps what lies between
/// allocations that live, which after a model's weights can be a gigabyte. Elsewhere allocators see to it themselves.
pub fn release_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            /// glibc's `malloc.h`.
            fn malloc_trim(keep: usize) -> std::ffi::c_int;
        }
        // SAFETY: the function takes any number, may be called from any thread at any time, and touches free memory
        // only.
        unsafe {
            malloc_trim(0);
        }
    }
}

/// Asks the system to back memory with large pages (2 MiB instead of 4 KiB) when it is first touched: that takes a fraction of
/// the time, and so do accesses later. A hint, on Linux; elsewhere nothing.
pub fn prefer_large_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        /// `sys/mman.h`
        const MADV_HUGEPAGE: std::ffi::c_int = 14;
        // SAFETY: memory that is borrowed for writing; the advice changes no contents.
        unsafe { advise(memory.as_mut_ptr().cast(), size_of_val(memory), MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Gives the pages of memory back to the system; it stays readable and writable, and is zero where it was given back. On Linux;
/// elsewhere nothing.
///
/// # Safety
/// `start` points to `bytes` bytes of one allocation of plain values, whose contents no one relies on.
pub(crate) unsafe fn release_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        /// `sys/mman.h`
        const MADV_DONTNEED: std::ffi::c_int = 4;
        // SAFETY: as the caller vouches; zeros are plain values too.
        unsafe { advise(start, bytes, MADV_DONTNEED) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Advises the system about the whole pages of some memory. An error means that the advice is not taken.
///
/// # Safety
/// `start` points to `bytes` bytes of one allocation, and the advice does nothing to their contents that matters.
#[cfg(target_os = "linux")]
unsafe fn advise(start: *mut u8, bytes: usize, advice: std::ffi::c_int) {
    /// What the system works with at least; a multiple of it on every machine.
    const PAGE: usize = 1 << 16;
    unsafe extern "C" {
        fn madvise(start: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
    }
    let skipped = start.align_offset(PAGE);
    if let Some(whole) = bytes.checked_sub(skipped).map(|rest| rest / PAGE * PAGE).filter(|whole| *whole > 0)
    {
        // SAFETY: whole pages within the memory that the caller vouches for.
        unsafe {
            madvise(start.wrapping_add(skipped).cast(), whole, advice);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_hint_about_pages_changes_no_contents() {
        for len in [0, 1, 1000, 5 << 20] {
            let mut memory: Vec<u32> = (0..len).collect();
            super::prefer_large_pages(&mut memory);
            assert!(memory.iter().zip(0..).all(|(value, i)| *value == i));
        }
    }

    #[test]
    fn what_lives_is_left_alone() {
        let mut kept = Vec::new();
        for i in 0..100u8 {
            kept.push(vec![i; 100_000]);
            drop(std::hint::black_box(vec![i; 100_000]));
        }
        super::release_freed();
        assert!(kept.iter().zip(0..).all(|(bytes, i)| bytes.iter().all(|byte| *byte == i)));
    }
}
