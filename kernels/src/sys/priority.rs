//! The priority of threads.

/// Gives the calling thread, and those that it starts, the lowest priority: beside one busy thread it gets about a
/// seventieth of a core, and all of an idle one. On Linux; elsewhere it does nothing.
pub fn lower_thread_priority() {
    #[cfg(target_os = "linux")]
    {
        /// `PRIO_PROCESS` of `sys/resource.h`. The C library's `setpriority` takes an enum or an `int` here.
        const PRIO_PROCESS: std::ffi::c_int = 0;
        /// The calling thread: on Linux a priority belongs to a thread.
        const CALLER: std::ffi::c_uint = 0;
        /// The lowest priority of the usual scheduler.
        const LOWEST: std::ffi::c_int = 19;
        unsafe extern "C" {
            fn setpriority(
                which: std::ffi::c_int,
                who: std::ffi::c_uint,
                priority: std::ffi::c_int,
            ) -> std::ffi::c_int;
        }
        // SAFETY: the function accepts any numbers, touches no memory of this process, and a thread may always lower its
        // own priority. If the system refuses nevertheless, nothing changes.
        unsafe {
            setpriority(PRIO_PROCESS, CALLER, LOWEST);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// The nice value of the calling thread: the 19th field of its `stat`, counted from the name in brackets.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn only_the_calling_thread_is_lowered() {
        let before = nice();
        let lowered = std::thread::spawn(|| {
            super::lower_thread_priority();
            nice()
        });
        assert_eq!(lowered.join().unwrap(), 19);
        assert_eq!(nice(), before);
    }
}
