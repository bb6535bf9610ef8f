//! Lines about what lasts, such as a broker that is full: each is logged once, until all is well.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Lines that are kept; what comes beyond is not logged.
const MAX_LINES: usize = 100;

/// Lines that were logged since all was well.
#[derive(Debug, Default)]
pub(super) struct LoggedLines(Mutex<BTreeSet<String>>);

impl LoggedLines {
    /// Notes a line; whether it is to be logged.
    pub(super) fn is_new(&self, line: &str) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.len() < MAX_LINES && lines.insert(line.to_owned())
    }

    /// Notes that all is well, so that lines are logged again when it is not; whether it was not.
    pub(super) fn settle(&self) -> bool {
        !std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_again_after_all_was_well() {
        let lines = LoggedLines::default();
        assert!(!lines.settle());
        assert!(lines.is_new("full") && lines.is_new("away") && !lines.is_new("full"));
        assert!(lines.settle() && !lines.settle());
        assert!(lines.is_new("full"));
        assert_eq!((0..2 * MAX_LINES).filter(|line| lines.is_new(&line.to_string())).count(), MAX_LINES - 1);
    }
}
