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
    /// Hyper-SD with guidance, as its files with "CFG" in their names.
    HyperCfg,
    /// Trajectory consistency distillation (Zheng et al. 2024).
    Tcd,
    /// Improved distribution matching distillation (Yin et al. 2024).
    Dmd2,
    /// What the published models of a family are but for its base (Flux.2 klein).
    StepDistilled,
}

/// How a model was distilled, and by what that was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectedDistillation {
    /// How it was distilled.
    pub distillation: Distillation,
    /// By what that was found out.
    pub evidence: Evidence,
}

/// Entries of the metadata that name a model.
const NAMING_KEYS: [&str; 2] = ["modelspec.architecture", "modelspec.title"];

/// Steps that Flux.1 schnell was made for.
const SCHNELL_STEPS: usize = 4;
/// Highest number of steps that a name is believed.
const MAX_NAMED_STEPS: usize = 16;

impl Distillation {
    /// Every kind, in the order in which names are searched for them.
    pub const ALL: [Distillation; 8] = [
        Distillation::Turbo,
        Distillation::Lightning,
        Distillation::Lcm,
        Distillation::HyperCfg,
        Distillation::Hyper,
        Distillation::Tcd,
        Distillation::Dmd2,
        Distillation::StepDistilled,
    ];

    /// Its name, as it stands in names of files: "turbo".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Distillation::Turbo => "turbo",
            Distillation::Lightning => "lightning",
            Distillation::Lcm => "lcm",
            Distillation::Hyper => "hyper",
            Distillation::HyperCfg => "hyper-cfg",
            Distillation::Tcd => "tcd",
            Distillation::Dmd2 => "dmd2",
            Distillation::StepDistilled => "step-distilled",
        }
    }

    /// Whether words mean it. "hyper" begins other words too, such as "hyperrealistic".
    fn is_meant_by(self, words: &[String]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| words.iter().any(|word| test(word));
        match self {
            Distillation::Hyper => any(&|word| word == "hyper" || word.starts_with("hypersd")),
            Distillation::HyperCfg => any(&|word| word == "cfg") && Distillation::Hyper.is_meant_by(words),
            Distillation::Tcd => any(&|word| word == "tcd"),
            Distillation::StepDistilled => {
                words.windows(2).any(|pair| pair[0] == "step" && pair[1] == "distilled")
            }
            _ => any(&|word| word.contains(self.name())),
        }
    }

    fn in_words(words: &[String]) -> Option<Distillation> {
        Distillation::ALL.into_iter().find(|kind| kind.is_meant_by(words))
    }

    /// As [`Distillation::is_meant_by`], for the name of a LoRA: one named "lightning" may as well draw a storm, so that a number of
    /// steps or the name of a family must stand beside it.
    fn is_meant_by_lora(self, words: &[String]) -> bool {
        let is_family =
            |word: &str| ["sd", "flux"].iter().any(|start| word.starts_with(start)) || word == "xl";
        // Of "FLUX.1-dev-Turbo", the number and the variant stand between.
        let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| !is_variant(word)).collect();
        let stands_beside = |name: &str| {
            let pair = |pair: &[&str]| {
                (pair[0] == name && is_family(pair[1])) || (pair[1] == name && is_family(pair[0]))
            };
            named.windows(2).any(pair)
        };
        match self {
            Distillation::Lcm => words.iter().any(|word| word.starts_with("lcm")),
            Distillation::Turbo | Distillation::Lightning => {
                self.is_meant_by(words) && (steps_in(words).is_some() || stands_beside(self.name()))
            }
            Distillation::Hyper | Distillation::HyperCfg => {
                let is_sd = || words.iter().any(|word| word.starts_with("hypersd")) || stands_beside("hyper");
                self.is_meant_by(words) && (steps_in(words).is_some() || is_sd())
            }
            Distillation::Tcd | Distillation::Dmd2 | Distillation::StepDistilled => self.is_meant_by(words),
        }
    }

    /// What a LoRA makes of a model, by the name of its file, or by the name or title in its metadata: and for how many steps, if
    /// they say so.
    pub(crate) fn of_lora(lora: &Checkpoint) -> Option<(Distillation, Option<usize>)> {
        let texts =
            ["ss_output_name", "modelspec.title"].iter().filter_map(|key| file_words::metadata(lora, key));
        let names =
            [file_words::file_name(lora)].into_iter().chain(texts.map(|text| file_words::split(text)));
        names.into_iter().find_map(|words| few_steps_of_lora(&words))
    }
}

/// What a LoRA whose name has these words makes of a model.
fn few_steps_of_lora(words: &[String]) -> Option<(Distillation, Option<usize>)> {
    if let Some(kind) = Distillation::ALL.into_iter().find(|kind| kind.is_meant_by_lora(words)) {
        return Some((kind, steps_in(words)));
    }
    // Of Flux.1 dev it makes a schnell.
    let has = |part: &str| words.iter().any(|word| word == part);
    let is_schnell =
        words.iter().any(|word| word.contains("2schnell")) || (has("schnell") && (has("dev") || has("to")));
    is_schnell.then(|| (Distillation::Turbo, steps_in(words).or(Some(SCHNELL_STEPS))))
}

/// Whether a word of a name says which model of a family is meant: a number, or a size.
fn is_variant(word: &str) -> bool {
    let is_size = matches!(word, "dev" | "large" | "medium" | "base" | "model" | "i" | "image");
    is_size || word.starts_with(|c: char| c.is_ascii_digit())
}

impl fmt::Display for Distillation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DetectedDistillation {
    /// That of a model of a family whose models are distilled unless they are called "base", by a folder's configuration or else by
    /// that word.
    pub(super) fn unless_base(checkpoint: &Checkpoint) -> Option<DetectedDistillation> {
        let detected =
            |evidence| DetectedDistillation { distillation: Distillation::StepDistilled, evidence };
        if let Some(is_distilled) = checkpoint.config("model_index").and_then(|c| c.get_bool("is_distilled"))
        {
            return is_distilled.then(|| detected(Evidence::ModelConfig));
        }
        let texts = NAMING_KEYS.iter().filter_map(|key| file_words::metadata(checkpoint, key));
        let mut words =
            texts.flat_map(|text| file_words::split(text)).chain(file_words::file_name(checkpoint));
        (!words.any(|word| word == "base")).then(|| detected(Evidence::FamilyDefault))
    }

    pub(super) fn of(checkpoint: &Checkpoint, index: &TensorIndex) -> Option<DetectedDistillation> {
        let detected = |evidence| move |distillation| DetectedDistillation { distillation, evidence };
        if index.any_name_in_file(|name| name.ends_with("cond_proj.weight")) {
            return Some(detected(Evidence::GuidanceEmbedding)(Distillation::Lcm));
        }
        let texts = NAMING_KEYS.iter().filter_map(|key| file_words::metadata(checkpoint, key));
        let words: Vec<String> = texts.flat_map(|text| file_words::split(text)).collect();
        let by_metadata = Distillation::in_words(&words).map(detected(Evidence::Metadata));
        by_metadata.or_else(|| {
            Distillation::in_words(&file_words::file_name(checkpoint)).map(detected(Evidence::FileName))
        })
    }
}

/// The number in "4step" or "8steps" in the file's name, or else in the title.
pub(crate) fn named_steps(checkpoint: &Checkpoint) -> Option<usize> {
    steps_in(&file_words::file_name(checkpoint)).or_else(|| steps_in(&file_words::title(checkpoint)))
}

/// The number of steps among words: "4step", "8steps", "4", "steps".
fn steps_in(words: &[String]) -> Option<usize> {
    let is_unit = |word: &String| matches!(word.as_str(), "step" | "steps");
    let number = |at: usize| -> Option<usize> {
        let word = &words[at];
        let followed = || words.get(at + 1).filter(|next| is_unit(next)).map(|_| word.as_str());
        let digits =
            word.strip_suffix("steps").or_else(|| word.strip_suffix("step")).filter(|rest| !rest.is_empty());
        digits.or_else(followed)?.parse().ok()
    };
    (0..words.len()).filter_map(number).find(|steps| (1..=MAX_NAMED_STEPS).contains(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loras_for_few_steps_are_known_by_their_names() {
        let of = |name: &str| {
            few_steps_of_lora(&file_words::split(name)).map(|(kind, steps)| (kind.name(), steps))
        };
        for (name, expected) in [
            ("lcm-lora-sdv1-5", Some(("lcm", None))),
            ("LCM_LoRA_Weights_SD15", Some(("lcm", None))),
            ("Hyper-SD15-8steps-lora", Some(("hyper", Some(8)))),
            ("Hyper-SDXL-8steps-CFG-lora", Some(("hyper-cfg", Some(8)))),
            ("Hyper-SDXL-1step-lora", Some(("hyper", Some(1)))),
            ("sdxl_lightning_4step_lora", Some(("lightning", Some(4)))),
            ("sdxl lightning 8 steps", Some(("lightning", Some(8)))),
            ("dmd2_sdxl_4step_lora_fp16", Some(("dmd2", Some(4)))),
            ("tcd-sd15-lora", Some(("tcd", None))),
            ("sd_xl_turbo_lora_v1", Some(("turbo", None))),
            ("Hyper-FLUX.1-dev-8steps-lora", Some(("hyper", Some(8)))),
            ("Hyper-SD3-4steps-CFG-lora", Some(("hyper-cfg", Some(4)))),
            ("FLUX.1-Turbo-Alpha", Some(("turbo", None))),
            ("flux.1-dev-turbo", Some(("turbo", None))),
            ("sd3.5_large_turbo_lora", Some(("turbo", None))),
            ("TensorArt_TurboX_SD3.5Large_8steps", Some(("turbo", Some(8)))),
            ("flux-dev2schnell-lora", Some(("turbo", Some(4)))),
            ("flux-dev-to-schnell-4step", Some(("turbo", Some(4)))),
            ("schnell_style", None),
            ("turbo_car_flux_style", None),
            ("lightning_storm_style", None),
            ("hyper_detailer", None),
            ("turbocharger", None),
            ("film_grain", None),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }
}
