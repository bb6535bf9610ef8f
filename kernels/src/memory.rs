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

#[cfg(test)]
mod tests {
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
