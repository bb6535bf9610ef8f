//! Counts outcomes and prints the table.

use std::fmt;
use std::time::Duration;

use super::case::Case;
use super::compare::{Errors, Outcome};

/// The outcomes of one kind of case.
#[derive(Debug, Default)]
struct Row {
    kind: String,
    passed: usize,
    failed: usize,
    unsupported: usize,
    time: Duration,
    errors: Errors,
}

/// The outcomes of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The device.
    name: String,
    rows: Vec<Row>,
    failures: Vec<String>,
    /// Failures that belong to no case: something is missing.
    missing: usize,
}

impl Report {
    /// A report of a device with a row for each of `kinds`, in this order, also where it has no cases.
    pub(crate) fn new<'a>(name: String, kinds: impl IntoIterator<Item = &'a str>) -> Self {
        let rows = kinds.into_iter().map(|kind| Row { kind: kind.to_owned(), ..Row::default() }).collect();
        Self { name, rows, ..Self::default() }
    }

    /// Adds the outcome of a case that took so long.
    pub(crate) fn add(&mut self, case: &Case, outcome: Outcome, time: Duration) {
        let at = self.rows.iter().position(|row| row.kind == case.kind()).unwrap_or_else(|| {
            self.rows.push(Row { kind: case.kind().to_owned(), ..Row::default() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        row.time += time;
        match outcome {
            Outcome::Unsupported => row.unsupported += 1,
            Outcome::Passed(errors) => {
                row.passed += 1;
                row.errors.largest.merge(&errors.largest, &case.id());
                row.errors.l2.merge(&errors.l2, &case.id());
                row.errors.pixel.merge(&errors.pixel, &case.id());
            }
            Outcome::Failed(why) => {
                row.failed += 1;
                self.failures.push(format!("{}: {why}", case.id()));
            }
        }
    }

    /// Adds something that should be there and is not; once, however many cases miss it.
    pub(crate) fn add_missing(&mut self, what: String) {
        if !self.failures.contains(&what) {
            self.missing += 1;
            self.failures.push(what);
        }
    }

    /// Cases that ran and are right.
    pub(crate) fn passed(&self) -> usize {
        self.rows.iter().map(|row| row.passed).sum()
    }

    /// Cases that ran and are wrong, and things that are missing.
    pub(crate) fn failed(&self) -> usize {
        self.missing + self.rows.iter().map(|row| row.failed).sum::<usize>()
    }
}

/// The table, then the failures one a line, then `N passed, N failed`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on {}", self.name)?;
        writeln!(
            f,
            "{:<16}{:>6}{:>8}{:>15}{:>9}  largest errors",
            "kind", "ran", "failed", "not supported", "seconds"
        )?;
        for row in &self.rows {
            let ran = row.passed + row.failed;
            let seconds = row.time.as_secs_f64();
            write!(f, "{:<16}{ran:>6}{:>8}{:>15}{seconds:>9.1}", row.kind, row.failed, row.unsupported)?;
            let Errors { largest, l2, pixel } = &row.errors;
            if let Some(error) = largest.error {
                write!(f, "  {error:.1e} at {}", largest.place)?;
            }
            if let Some(error) = l2.error {
                write!(f, ", L2 {error:.1e} at {}", l2.place)?;
            }
            if let Some(error) = pixel.error {
                write!(f, ", u8 {error:.0} at {}", pixel.place)?;
            }
            writeln!(f)?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        let unsupported: usize = self.rows.iter().map(|row| row.unsupported).sum();
        writeln!(f, "{unsupported} not supported yet")?;
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}
