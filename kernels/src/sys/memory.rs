//! Pages of memory.

/// Returns freed memory to the system where the allocator would keep it: glibc keeps what is between live allocations,
/// which after dropping a model's weights can be a gigabyte. Other allocators do so themselves.
pub fn release_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            /// glibc's `malloc.h`.
            fn malloc_trim(keep: usize) -> std::ffi::c_int;
        }
        // SAFETY: the function accepts any number, may be called from any thread at any time, and touches only free memory.
        unsafe {
            malloc_trim(0);
        }
    }
}

/// Asks the system to back memory with huge pages (2 MiB instead of 4 KiB) when it is first touched: that is several times
/// faster, and so are later accesses. A hint, on Linux; elsewhere it does nothing.
pub fn prefer_huge_pages<T>(memory: &mut [T]) {
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

/// Returns the pages of memory to the system; it stays readable and writable, and is zero where it was returned. On Linux;
/// elsewhere it does nothing.
///
/// # Safety
/// - `start` points to `bytes` bytes of one allocation of plain values, whose contents nothing relies on.
pub(crate) unsafe fn release_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        /// `sys/mman.h`
        const MADV_DONTNEED: std::ffi::c_int = 4;
        // SAFETY: the caller guarantees the memory; zeros are plain values too.
        unsafe { advise(start, bytes, MADV_DONTNEED) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Advises the system about the whole pages within some memory. An error means that the advice is not taken.
///
/// # Safety
/// - `start` points to `bytes` bytes of one allocation, and nothing relies on contents that the advice changes.
#[cfg(target_os = "linux")]
unsafe fn advise(start: *mut u8, bytes: usize, advice: std::ffi::c_int) {
    /// A multiple of the page size of every machine.
    const PAGE: usize = 1 << 16;
    unsafe extern "C" {
        fn madvise(start: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
    }
    let skipped = start.align_offset(PAGE);
    if let Some(whole) = bytes.checked_sub(skipped).map(|rest| rest / PAGE * PAGE).filter(|whole| *whole > 0)
    {
        // SAFETY: whole pages within the memory that the caller guarantees.
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
            super::prefer_huge_pages(&mut memory);
            assert!(memory.iter().zip(0..).all(|(value, i)| *value == i));
        }
    }

    #[test]
    fn live_allocations_keep_their_contents() {
        let mut kept = Vec::new();
        for i in 0..100u8 {
            kept.push(vec![i; 100_000]);
            drop(std::hint::black_box(vec![i; 100_000]));
        }
        super::release_freed_memory();
        assert!(kept.iter().zip(0..).all(|(bytes, i)| bytes.iter().all(|byte| *byte == i)));
    }
}
