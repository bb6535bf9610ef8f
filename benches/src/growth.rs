//! Asserts that work grows in proportion to its input, on a machine of any speed and however busy.

use std::time::Duration;

/// How many times larger the large input is.
const FACTOR: usize = 32;
/// How many times more processor time the large input may take: between linear (32) and quadratic (1024). Linear work on
/// more memory than the cache holds, or that the allocator takes page by page, was seen to take five times its share.
const MAX_RATIO: u32 = 256;
/// Less than this cannot be told from nothing.
const MIN_TIME: Duration = Duration::from_micros(100);
/// How often both are measured before the assertion fails.
const ATTEMPTS: usize = 5;

/// Asserts that `work` on an input of `32 * size` takes less than 256 times the processor time of one of `size`.
///
/// Linear work takes 32 times as long, quadratic work 1024 times. Only the time of the calling thread counts where the
/// system reports that (Unix), so other processes do not matter. Several attempts are made.
///
/// # Panics
/// If the time grows faster in every attempt.
///
/// ```
/// latent_benches::growth::assert_linear("a sum", 10_000, |n| vec![1u64; n], |values| values.iter().sum::<u64>());
/// ```
pub fn assert_linear<T, R>(label: &str, size: usize, make: impl Fn(usize) -> T, work: impl Fn(&T) -> R) {
    let (small, large) = (make(size), make(FACTOR * size));
    let time = |input: &T| {
        let start = thread_time();
        std::hint::black_box(work(std::hint::black_box(input)));
        thread_time() - start
    };
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        // The first call may fill a cache or a table.
        let of_small = (0..3).map(|_| time(&small)).min().unwrap_or_default().max(MIN_TIME);
        let of_large = time(&large);
        if of_large < MAX_RATIO * of_small {
            return;
        }
        seen.push((of_small, of_large));
    }
    panic!("{label}: {FACTOR} times the input took more than {MAX_RATIO} times as long, each time: {seen:?}");
}

/// Processor time of the calling thread so far.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.expect("POSIX has a clock for each thread").into()
}

/// Time since some moment: the standard library knows no clock of a thread.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::assert_linear;

    fn ones(n: usize) -> Vec<u32> {
        (0..n as u32).collect()
    }

    #[test]
    fn linear_work_passes() {
        assert_linear("a sum", 20_000, ones, |values| values.iter().copied().fold(0, u32::wrapping_add));
    }

    #[test]
    #[should_panic(expected = "pairs: 32 times the input took more than 256 times as long")]
    fn quadratic_work_fails() {
        assert_linear("pairs", 800, ones, |values| {
            values
                .iter()
                .filter(|a| values.iter().any(|b| std::hint::black_box(**a ^ *b) == u32::MAX))
                .count()
        });
    }
}
