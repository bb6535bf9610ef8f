//! Whether a machine has room for what is to be drawn, and what would fit.

use crate::AppError;
use crate::error::Remedy;
use crate::text::format_bytes;
use latent_diffusion::{MemoryEstimate, Stage};
use std::fmt::Write as _;

/// Block formats that a model may be had in, and the bits of a value.
const FORMATS: [(&str, f64); 2] = [("q8_0", 8.5), ("q4_k", 4.5)];
/// Smaller models, the best first: family, name and bytes of the largest stage of an image of their own size.
const SMALLER: [(&str, &str, u64); 4] = [
    ("flux2-klein", "Flux.2 klein in q4_k", 3_400_000_000),
    ("sd3", "Stable Diffusion 3.5 medium in q4_k with a T5 in q4_k", 3_600_000_000),
    ("sdxl", "Stable Diffusion XL", 7_000_000_000),
    ("sd1", "Stable Diffusion 1.5", 2_800_000_000),
];

/// Estimates of a job, and what it draws with.
pub(super) struct NeededRoom<'a> {
    /// The model's name.
    pub(super) model: &'a str,
    /// The short name of its family.
    pub(super) family: &'static str,
    pub(super) stages: &'a [MemoryEstimate],
    /// The same with weights that are read block by block; none where they are already.
    pub(super) streamed: Option<&'a [MemoryEstimate]>,
}

impl NeededRoom<'_> {
    /// Refuses a job whose weights do not fit a number of bytes. What does not fit for the size of its images may be swapped, so that
    /// a warning is all that it deserves.
    ///
    /// # Errors
    /// What it takes, and what would fit.
    pub(super) fn check(&self, limit: Option<u64>) -> Result<(), AppError> {
        let most = self.stages.iter().max_by_key(|estimate| estimate.bytes);
        let (Some(most), Some(limit)) = (most, limit) else { return Ok(()) };
        if most.bytes <= limit || most.weights < limit / 2 {
            return Ok(());
        }
        let mut message = format!(
            "{}: {} takes about {} of memory, and {} are all there is",
            self.model,
            most.stage,
            format_bytes(most.bytes),
            format_bytes(limit)
        );
        let fits = self.alternatives().into_iter().filter(|(_, bytes)| *bytes <= limit);
        let mut before = "; what would fit: ";
        for (what, bytes) in fits {
            let _ = write!(message, "{before}{what} ({})", format_bytes(bytes));
            before = ", ";
        }
        let streams = self.streamed.is_some_and(|stages| largest(stages, |stage| stage.bytes) <= limit);
        match streams {
            true => Err(AppError::Refused { message, remedy: Remedy::StreamWeights }),
            false => Err(AppError::BadInput(message)),
        }
    }

    /// What could be drawn instead, and the bytes of the largest stage.
    fn alternatives(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        if let Some(streamed) = self.streamed {
            let bytes = largest(streamed, |stage| stage.bytes);
            all.push(("its weights read block by block".to_owned(), bytes));
        }
        let most = largest(self.stages, |stage| stage.bytes);
        for (format, bits) in FORMATS {
            let bytes = largest(self.stages, |stage| match stage.stage {
                Stage::TextEncoding | Stage::Sampling => stage.bytes_at(bits).min(stage.bytes),
                _ => stage.bytes,
            });
            if bytes < most {
                all.push((format!("its files in {format}"), bytes));
            }
        }
        let smaller = SMALLER.iter().find(|(family, _, bytes)| *family != self.family && *bytes < most);
        all.extend(smaller.map(|(_, name, bytes)| ((*name).to_owned(), *bytes)));
        all
    }
}

fn largest(stages: &[MemoryEstimate], bytes: impl Fn(&MemoryEstimate) -> u64) -> u64 {
    stages.iter().map(bytes).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn room<'a>(stages: &'a [MemoryEstimate], streamed: Option<&'a [MemoryEstimate]>) -> NeededRoom<'a> {
        NeededRoom { model: "flux1-dev", family: "flux", stages, streamed }
    }

    /// Flux.1 dev in `f16`, whole and block by block.
    fn flux() -> [[MemoryEstimate; 3]; 2] {
        let of = |stage, bytes, weights, values| MemoryEstimate { stage, bytes, weights, values };
        let decoding = of(Stage::Decoding, 2 * GB, 0, 0);
        let whole = [
            of(Stage::TextEncoding, 10 * GB, 10 * GB, 5 * GB),
            of(Stage::Sampling, 25 * GB, 24 * GB, 12 * GB),
            decoding,
        ];
        [whole, [of(Stage::TextEncoding, GB, GB, GB / 2), of(Stage::Sampling, GB, GB, GB / 2), decoding]]
    }

    #[test]
    fn what_does_not_fit_names_what_would() {
        let [whole, streamed] = flux();
        let needed = room(&whole, Some(&streamed));
        needed.check(Some(25 * GB)).unwrap();
        needed.check(None).unwrap();
        let error = needed.check(Some(16 * GB)).unwrap_err();
        let AppError::Refused { message, remedy: Remedy::StreamWeights } = error else { panic!("{error:?}") };
        assert_eq!(
            message,
            "flux1-dev: sampling takes about 25.00 GB of memory, and 16.00 GB are all there is; what would fit: its \
             weights read block by block (2.00 GB), its files in q8_0 (13.75 GB), its files in q4_k (7.75 GB), Flux.2 \
             klein in q4_k (3.40 GB)"
        );
        let text = room(&whole, None).check(Some(8 * GB)).unwrap_err().to_string();
        assert!(
            text.contains("q4_k (7.75 GB)") && !text.contains("q8_0") && !text.contains("block by"),
            "{text}"
        );
        // Nothing at all fits.
        let text = room(&whole, Some(&streamed)).check(Some(GB)).unwrap_err().to_string();
        assert!(!text.contains("what would fit"), "{text}");
    }

    #[test]
    fn large_images_of_small_models_are_not_refused() {
        let large = MemoryEstimate { stage: Stage::Sampling, bytes: 30 * GB, weights: 2 * GB, values: GB };
        room(&[large], None).check(Some(8 * GB)).unwrap();
    }
}
