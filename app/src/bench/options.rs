//! What is measured, and how often.

use super::stage::{BenchStage, CFG_BATCH, STAGE_SELECTIONS};
use crate::AppError;
use latent_diffusion::families::PublishedModel;
use latent_diffusion::tensor::Precision;
use latent_diffusion::{MAX_SIDE, VaeTiling};

/// Maximum number of timed runs of a stage.
const MAX_RUNS: usize = 1000;
/// Maximum number of UNet evaluations at once: more than this only takes memory.
const MAX_BATCH: usize = 64;
/// Maximum part of merged tokens, as in a drawing.
const MAX_TOKEN_MERGING: f64 = 0.5;

/// What is measured, and how often.
#[derive(Clone)]
#[non_exhaustive]
pub struct BenchOptions {
    /// The model whose shapes are measured.
    pub family: &'static PublishedModel,
    /// Width and height of the image in pixels.
    pub side: usize,
    /// The stages, in the order in which they are measured.
    pub stages: &'static [BenchStage],
    /// UNet evaluations at once: 2 are one step with guidance; an odd number is measured without guidance.
    pub batch: usize,
    /// Timed runs of each stage, after one to warm up; the median counts.
    pub runs: usize,
    /// How the VAE runs on the CPU.
    pub vae_tiling: VaeTiling,
    /// What the CPU multiplies in; a GPU computes in its own.
    pub precision: Precision,
    /// The part of the tokens that the UNet merges; 0 on a GPU.
    pub token_merging: f64,
}

impl std::fmt::Debug for BenchOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BenchOptions { family, side, stages, batch, runs, vae_tiling, precision, token_merging } = self;
        let mut debug = f.debug_struct("BenchOptions");
        debug.field("family", &family.id).field("side", side).field("stages", stages);
        debug.field("batch", batch).field("runs", runs).field("vae_tiling", vae_tiling);
        debug.field("precision", precision).field("token_merging", token_merging).finish()
    }
}

impl BenchOptions {
    /// All stages of a model's own size, each run three times.
    #[must_use]
    pub fn new(family: &'static PublishedModel) -> BenchOptions {
        BenchOptions {
            family,
            side: family.resolution,
            stages: STAGE_SELECTIONS[0].stages(),
            batch: CFG_BATCH,
            runs: 3,
            vae_tiling: VaeTiling::Off,
            precision: Precision::F32,
            token_merging: 0.0,
        }
    }

    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// Bad input: runs that are not 1 to 1000, a batch that is not 1 to 64, a size that the model cannot draw, a part of the tokens that is not 0 to
    /// 0.5.
    pub fn check(&self) -> Result<(), AppError> {
        let refuse = |line: String| Err(AppError::BadInput(line));
        let &BenchOptions { side, batch, runs, .. } = self;
        if runs == 0 || runs > MAX_RUNS {
            return refuse(format!("runs: {runs} is not in 1 to {MAX_RUNS}"));
        }
        if batch == 0 || batch > MAX_BATCH {
            return refuse(format!("batch: {batch} is not in 1 to {MAX_BATCH}"));
        }
        if !(0.0..=MAX_TOKEN_MERGING).contains(&self.token_merging) {
            return refuse(format!("tome: {} is not in 0 to {MAX_TOKEN_MERGING}", self.token_merging));
        }
        let factor = self.family.sizes().vae.factor();
        if side == 0 || side > MAX_SIDE || !side.is_multiple_of(factor) {
            return refuse(format!("size: {side} is not a multiple of {factor} from {factor} to {MAX_SIDE}"));
        }
        Ok(())
    }
}
