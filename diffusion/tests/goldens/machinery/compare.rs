//! Compares results with goldens and keeps the largest errors.

use super::case::{Case, Limit};
use super::context::Context;
use super::tensors::Values;

/// What became of a case.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Within the limits; the largest errors.
    Passed(Errors),
    /// Outside of them, or not computed at all; why.
    Failed(String),
    /// The engine cannot do this yet.
    Unsupported,
}

/// The largest error of each sort, and the tensor it was found in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Errors {
    /// Largest difference over largest value of the golden, or the difference itself where the limit is absolute.
    pub(crate) largest: Worst,
    /// L2 norm of the difference over L2 norm of the golden.
    pub(crate) l2: Worst,
    /// Largest difference of 8-bit images.
    pub(crate) pixel: Worst,
}

/// The largest of several errors.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Worst {
    /// The error; `None` where nothing was compared.
    pub(crate) error: Option<f64>,
    /// Where it was found.
    pub(crate) place: String,
}

impl Worst {
    /// Takes over an error that is larger than those before.
    pub(crate) fn update(&mut self, error: f64, place: &str) {
        if self.error.is_none_or(|old| error > old) {
            *self = Self { error: Some(error), place: place.to_owned() };
        }
    }

    /// Takes over the error of another, whose place lies within `prefix`.
    pub(crate) fn merge(&mut self, other: &Worst, prefix: &str) {
        if let Some(error) = other.error {
            self.update(error, &format!("{prefix}/{}", other.place));
        }
    }
}

/// How two lists of numbers differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    /// The largest difference of two elements.
    pub(crate) absolute: f64,
    /// That, over the largest absolute value of the golden.
    pub(crate) relative: f64,
    /// The L2 norm of the difference over that of the golden.
    pub(crate) l2: f64,
}

/// Compares element by element. Errors say what makes the comparison impossible: another number of elements, or one
/// that is not finite.
pub(crate) fn difference(golden: &[f64], got: &[f64]) -> Result<Difference, String> {
    if golden.len() != got.len() {
        return Err(format!("expected {} elements, got {}", golden.len(), got.len()));
    }
    if let Some(i) = got.iter().position(|v| !v.is_finite()) {
        return Err(format!("element {i} is {}, expected {}", got[i], golden[i]));
    }
    let pairs = || golden.iter().zip(got).map(|(a, b)| a - b);
    let absolute = pairs().fold(0.0, |m: f64, d| m.max(d.abs()));
    let largest = golden.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let norm = golden.iter().map(|v| v * v).sum::<f64>().sqrt();
    let l2 = pairs().map(|d| d * d).sum::<f64>().sqrt();
    Ok(Difference { absolute, relative: ratio(absolute, largest), l2: ratio(l2, norm) })
}

/// `error / size`, where no error at all is zero also for a golden of zeros.
fn ratio(error: f64, size: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / size }
}

/// Collects the comparisons of one case.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    case: &'a Case,
    context: &'a Context,
    errors: Errors,
    problems: Vec<String>,
}

impl<'a> Comparison<'a> {
    /// Nothing compared yet.
    pub(crate) fn new(case: &'a Case, context: &'a Context) -> Self {
        Self { case, context, errors: Errors::default(), problems: Vec::new() }
    }

    /// Compares with the golden tensor `name`, row-major in the golden's own order of axes.
    pub(crate) fn tensor(&mut self, name: &str, got: &[f32]) {
        let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
        self.tensor_f64(name, &got);
    }

    /// Compares with the golden tensor `name` in double precision.
    pub(crate) fn tensor_f64(&mut self, name: &str, got: &[f64]) {
        match self.context.golden(self.case, name) {
            Ok(golden) => self.values(name, &golden.to_f64(), got),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Compares with golden numbers that stand in the JSON of the case, or are a part of a tensor.
    pub(crate) fn values(&mut self, name: &str, golden: &[f64], got: &[f64]) {
        let difference = match difference(golden, got) {
            Ok(difference) => difference,
            Err(problem) => return self.problems.push(format!("{name}: {problem}")),
        };
        let Difference { absolute, relative, l2 } = difference;
        let limit = match self.context.target.limits {
            Some((relative, _)) => Limit::Relative(relative),
            None => self.case.limit(),
        };
        let (fits, limit) = match limit {
            Limit::Absolute(limit) => {
                self.errors.largest.update(absolute, name);
                (absolute <= limit, format!("{limit:.1e} absolute"))
            }
            Limit::Relative(limit) => {
                self.errors.largest.update(relative, name);
                (relative <= limit && l2 <= limit, format!("{limit:.1e} relative"))
            }
        };
        self.errors.l2.update(l2, name);
        if !fits {
            self.problems.push(format!(
                "{name}: largest difference {absolute:.2e}, relative {relative:.2e}, L2 {l2:.2e}; limit {limit}"
            ));
        }
    }

    /// Compares with the golden 8-bit image `name`, `[N, H, W, C]`.
    pub(crate) fn image(&mut self, name: &str, got: &[u8]) {
        let golden = match self.context.golden(self.case, name) {
            Ok(golden) => golden,
            Err(problem) => return self.problems.push(problem),
        };
        let Values::U8(golden) = golden.values else {
            return self.problems.push(format!("{name}: the golden is no 8-bit image"));
        };
        if golden.len() != got.len() {
            return self.problems.push(format!("{name}: expected {} bytes, got {}", golden.len(), got.len()));
        }
        let largest = golden.iter().zip(got).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        self.errors.pixel.update(f64::from(largest), name);
        let limit = self.context.target.limits.map_or(self.case.pixel_limit(), |(_, pixels)| pixels);
        if largest > limit {
            self.problems.push(format!("{name}: pixels differ by up to {largest} of 255; limit {limit}"));
        }
    }

    /// Compares things that must be equal, such as token ids.
    pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, golden: &T, got: &T) {
        self.errors.largest.update(if golden == got { 0.0 } else { f64::INFINITY }, name);
        if golden != got {
            self.problems.push(format!("{name}: expected {golden:?}, got {got:?}"));
        }
    }

    /// Takes note of something that failed before there was anything to compare.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// The outcome. A case that compared nothing has failed.
    pub(crate) fn finish(self) -> Outcome {
        if !self.problems.is_empty() {
            return Outcome::Failed(self.problems.join("; "));
        }
        if self.errors == Errors::default() {
            return Outcome::Failed("nothing was compared".to_owned());
        }
        Outcome::Passed(self.errors)
    }
}
