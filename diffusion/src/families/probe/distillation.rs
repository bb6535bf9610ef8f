//! Models that were distilled to draw in few steps.

use super::evidence::Evidence;
use super::file_words;
use super::index::TensorIndex;
use latent_loader::Checkpoint;
use std::fmt;

/// How a model was distilled to draw in few steps. Displayed, it is its name: "turbo".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distillation {
    /// Adversarial diffusion distillation: SD-Turbo, SDXL-Turbo.
    Turbo,
    /// SDXL-Lightning.
    Lightning,
    /// Latent consistency models (Luo et al. 2023), also as a LoRA that was merged in.
    Lcm,
    /// Hyper-SD.
    Hyper,
}

/// How a model was distilled, and by what that was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectedDistillation {
    /// How it was distilled.
    pub distillation: Distillation,
    /// By what that was found out.
    pub evidence: Evidence,
}

/// Highest number of steps that a name is believed.
const MAX_NAMED_STEPS: usize = 16;

impl Distillation {
    /// Every kind, in the order in which names are searched for them.
    pub const ALL: [Distillation; 4] =
        [Distillation::Turbo, Distillation::Lightning, Distillation::Lcm, Distillation::Hyper];

    /// Its name, as it stands in names of files: "turbo".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Distillation::Turbo => "turbo",
            Distillation::Lightning => "lightning",
            Distillation::Lcm => "lcm",
            Distillation::Hyper => "hyper",
        }
    }

    /// Whether a word means it. "hyper" begins other words too, such as "hyperrealistic".
    fn is_meant_by(self, word: &str) -> bool {
        match self {
            Distillation::Hyper => word == "hyper" || word.starts_with("hypersd"),
            _ => word.contains(self.name()),
        }
    }

    fn in_words(words: &[String]) -> Option<Distillation> {
        Distillation::ALL.into_iter().find(|kind| words.iter().any(|word| kind.is_meant_by(word)))
    }
}

impl fmt::Display for Distillation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DetectedDistillation {
    pub(super) fn of(checkpoint: &Checkpoint, index: &TensorIndex) -> Option<DetectedDistillation> {
        let detected = |evidence| move |distillation| DetectedDistillation { distillation, evidence };
        if index.any_name_in_file(|name| name.ends_with("cond_proj.weight")) {
            return Some(detected(Evidence::GuidanceEmbedding)(Distillation::Lcm));
        }
        let keys = ["modelspec.architecture", "modelspec.title"];
        let texts = keys.iter().filter_map(|key| file_words::metadata(checkpoint, key));
        let words: Vec<String> = texts.flat_map(|text| file_words::split(text)).collect();
        let by_metadata = Distillation::in_words(&words).map(detected(Evidence::Metadata));
        by_metadata.or_else(|| {
            Distillation::in_words(&file_words::file_name(checkpoint)).map(detected(Evidence::FileName))
        })
    }
}

/// The number in "4step" or "8steps" in the file's name, or else in the title.
pub(crate) fn named_steps(checkpoint: &Checkpoint) -> Option<usize> {
    let number = |word: &String| -> Option<usize> {
        word.strip_suffix("steps").or_else(|| word.strip_suffix("step"))?.parse().ok()
    };
    let words = file_words::file_name(checkpoint).into_iter().chain(file_words::title(checkpoint));
    words.filter_map(|word| number(&word)).find(|steps| (1..=MAX_NAMED_STEPS).contains(steps))
}
