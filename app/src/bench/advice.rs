//! What each switch that draws faster saves on this machine, from a short measurement of the parts of an image.

use super::stage::{IMAGE_STEPS, TIMESTEP, latents_of, normal, synthetic_params};
use super::{BenchOptions, BenchStage, CFG_BATCH, check_finite};
use crate::AppError;
use latent_diffusion::families::ModelSizes;
use latent_diffusion::taesd::{TaesdConfig, TaesdDecoder};
use latent_diffusion::tensor::{Device, Pool, Precision, Tensor};
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::{Condition, DeepCache, UNet};
use latent_diffusion::{Error, VaeTiling};
use latent_kernels::{Isa, parallel};
use serde_json::{Value, json};
use std::time::Instant;

/// Parts of the tokens whose merging is measured.
const TOKEN_MERGING: [f64; 2] = [0.3, 0.5];
/// Steps of the models for few steps.
const FEW_STEPS: usize = 4;
/// Channels of the published TAESD.
const TAESD_CHANNELS: usize = 64;

/// What is switched on beside the usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedSwitches {
    /// As [`Settings::cache_interval`](latent_diffusion::Settings::cache_interval).
    pub cache: usize,
    /// As [`Settings::guidance_end`](latent_diffusion::Settings::guidance_end).
    pub cfg_end: f64,
    /// As [`Settings::token_merging`](latent_diffusion::Settings::token_merging).
    pub tome: f64,
    /// Whether a tiny VAE decodes.
    pub taesd: bool,
    /// Whether the model is one for few steps without guidance.
    pub few_steps: bool,
    /// Whether the VAE decodes in bands.
    pub low_memory: bool,
    /// Whether linear layers are multiplied in 8-bit integers.
    pub int8: bool,
}

impl SpeedSwitches {
    /// Nothing is switched on.
    pub const NONE: SpeedSwitches = SpeedSwitches {
        cache: 1,
        cfg_end: 1.0,
        tome: 0.0,
        taesd: false,
        few_steps: false,
        low_memory: false,
        int8: false,
    };

    /// Each switch alone, then good combinations, from exact to fast.
    #[must_use]
    pub fn all() -> Vec<SpeedSwitches> {
        let none = SpeedSwitches::NONE;
        let mut all = vec![none];
        all.extend([2, 3].map(|cache| SpeedSwitches { cache, ..none }));
        all.push(SpeedSwitches { int8: true, ..none });
        all.extend([0.8, 0.6].map(|cfg_end| SpeedSwitches { cfg_end, ..none }));
        all.extend(TOKEN_MERGING.map(|tome| SpeedSwitches { tome, ..none }));
        all.push(SpeedSwitches { taesd: true, ..none });
        all.push(SpeedSwitches { cache: 2, cfg_end: 0.8, ..none });
        all.push(SpeedSwitches { cache: 2, int8: true, ..none });
        all.push(SpeedSwitches { cache: 3, cfg_end: 0.8, taesd: true, ..none });
        all.push(SpeedSwitches { few_steps: true, ..none });
        all.push(SpeedSwitches { few_steps: true, taesd: true, ..none });
        all.push(SpeedSwitches { low_memory: true, ..none });
        all
    }

    /// How near images are to those without the switches, where that was measured.
    #[must_use]
    pub fn likeness(&self) -> Option<Likeness> {
        let SpeedSwitches { cache, cfg_end, tome, taesd, few_steps, low_memory: _, int8 } = *self;
        if taesd || few_steps {
            return None;
        }
        LIKENESS.iter().find(|(of, _)| *of == (cache, cfg_end, tome, int8)).map(|(_, likeness)| *likeness)
    }
}

/// Signal-to-noise ratios (PSNR) in dB of images to those without a switch; infinite for the same bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Of half of the images it is higher.
    pub median: f64,
    /// Of the image that is the furthest off.
    pub worst: f64,
}

/// Interval of the cache, end of the guidance, part of merged tokens and 8-bit integers, with what `docs/speed.md` and `docs/performance.md` say of them.
const LIKENESS: [((usize, f64, f64, bool), Likeness); 10] = [
    ((1, 1.0, 0.0, true), Likeness { median: 52.3, worst: 47.0 }),
    ((2, 1.0, 0.0, true), Likeness { median: 47.0, worst: 37.0 }),
    ((1, 1.0, 0.0, false), Likeness { median: f64::INFINITY, worst: f64::INFINITY }),
    ((2, 1.0, 0.0, false), Likeness { median: 53.5, worst: 43.8 }),
    ((3, 1.0, 0.0, false), Likeness { median: 52.2, worst: 45.3 }),
    ((1, 0.8, 0.0, false), Likeness { median: 33.8, worst: 33.3 }),
    ((1, 0.6, 0.0, false), Likeness { median: 28.4, worst: 24.5 }),
    ((1, 1.0, 0.3, false), Likeness { median: 40.2, worst: 34.1 }),
    ((1, 1.0, 0.5, false), Likeness { median: 36.6, worst: 33.9 }),
    ((2, 0.8, 0.0, false), Likeness { median: 33.5, worst: 32.5 }),
];

/// What was measured, and what follows from it.
#[derive(Clone, Debug)]
pub struct SpeedAdvice {
    /// What was asked for: family, side and number of runs.
    pub options: BenchOptions,
    /// Number of threads.
    pub threads: usize,
    /// Seconds of each part.
    pub parts: PartSeconds,
    /// Without a switch, and then with each.
    pub rows: Vec<AdviceRow>,
}

/// An image of [`IMAGE_STEPS`] steps with some switches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdviceRow {
    /// What is switched on.
    pub switches: SpeedSwitches,
    /// Seconds of the image, computed from those of its parts.
    pub seconds: f64,
}

/// Seconds of the parts of an image; the medians of their runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartSeconds {
    /// Both texts.
    pub text: f64,
    /// A step with guidance.
    pub step: f64,
    /// A step without guidance.
    pub unguided: f64,
    /// A step with guidance that takes over the coarse levels.
    pub shallow: f64,
    /// A step with guidance that merges the parts of the tokens in [`SpeedAdvice::rows`].
    pub merged: [f64; 2],
    /// A step with guidance in 8-bit integers.
    pub int8: f64,
    /// Decoding.
    pub decode: f64,
    /// Decoding in bands.
    pub decode_in_bands: f64,
    /// Decoding with a tiny VAE.
    pub taesd: f64,
}

impl PartSeconds {
    /// Seconds of an image.
    fn image(&self, switches: SpeedSwitches) -> f64 {
        let SpeedSwitches { cache, cfg_end, tome, taesd, few_steps, low_memory, int8 } = switches;
        let steps = if few_steps { FEW_STEPS } else { IMAGE_STEPS };
        let guided = if few_steps { 0 } else { (cfg_end * IMAGE_STEPS as f64).ceil() as usize };
        let merged = TOKEN_MERGING.iter().position(|part| *part == tome).map(|at| self.merged[at]);
        // A run takes over what the same evaluation left: where guidance ends, a step is computed whole.
        let seconds = |from: usize, to: usize, whole: f64, shallow: f64| -> f64 {
            let is_whole = |step: usize| step == from || step.is_multiple_of(cache);
            (from..to).map(|step| if is_whole(step) { whole } else { shallow }).sum()
        };
        let step = merged.unwrap_or(self.step);
        let sampling = seconds(0, guided, step, self.shallow)
            + seconds(guided, steps, self.unguided, self.shallow * self.unguided / self.step);
        let sampling = if int8 { sampling * self.int8 / self.step } else { sampling };
        let decode = match (taesd, low_memory) {
            (true, _) => self.taesd,
            (false, true) => self.decode_in_bands,
            (false, false) => self.decode,
        };
        self.text + sampling + decode
    }

    fn json(&self) -> Value {
        json!({
            "text": self.text,
            "step": self.step,
            "unguided_step": self.unguided,
            "shallow_step": self.shallow,
            "tome_step": TOKEN_MERGING.iter().zip(self.merged).map(|(part, seconds)| {
                json!({ "tome": part, "seconds": seconds })
            }).collect::<Vec<_>>(),
            "int8_step": self.int8,
            "decode": self.decode,
            "decode_in_bands": self.decode_in_bands,
            "decode_taesd": self.taesd,
        })
    }
}

impl SpeedAdvice {
    /// How many times as fast a row is as one without switches.
    #[must_use]
    pub fn speed(&self, row: &AdviceRow) -> f64 {
        self.rows[0].seconds / row.seconds
    }

    /// The advice as the JSON of `latent bench --advise --json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let finite = |decibels: f64| decibels.is_finite().then_some(decibels);
        let row = |row: &AdviceRow| {
            let SpeedSwitches { cache, cfg_end, tome, taesd, few_steps, low_memory, int8 } = row.switches;
            json!({
                "cache": cache,
                "cfg_end": cfg_end,
                "tome": tome,
                "taesd": taesd,
                "few_steps": few_steps,
                "low_memory": low_memory,
                "precision": if int8 { "int8" } else { "f32" },
                "seconds": row.seconds,
                "speed": self.speed(row),
                "psnr_median": row.switches.likeness().and_then(|likeness| finite(likeness.median)),
                "psnr_worst": row.switches.likeness().and_then(|likeness| finite(likeness.worst)),
            })
        };
        json!({
            "family": self.options.family.id,
            "size": self.options.side,
            "steps": IMAGE_STEPS,
            "runs": self.options.runs,
            "threads": self.threads,
            "isa": Isa::best().name(),
            "parts_seconds": self.parts.json(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// Measures the parts of an image and computes what each switch saves. `progress` is given a line for each part.
///
/// # Errors
/// Bad input: options outside of their bounds, a GPU. Run time: too little memory, values that are not finite.
pub fn advise(
    options: &BenchOptions,
    device: &Device,
    progress: &mut dyn FnMut(&str),
) -> Result<SpeedAdvice, AppError> {
    options.check()?;
    if *device != Device::Cpu {
        let line = "the advice is for drawing on the CPU; measure the CPU for it, or a GPU without advice";
        return Err(AppError::BadInput(line.into()));
    }
    let mut timing = Timing { runs: options.runs, progress };
    let text = timing.stage(BenchStage::Text, options)?;
    let [step, unguided, shallow, merged @ ..] = unet_seconds(options, &mut timing)?;
    let in_int8 = BenchOptions { precision: Precision::Int8, batch: CFG_BATCH, ..options.clone() };
    let int8 = timing.stage(BenchStage::UNet, &in_int8)?;
    let decode = timing.stage(BenchStage::Vae, options)?;
    let in_bands = BenchOptions { vae_tiling: VaeTiling::Bands, ..options.clone() };
    let decode_in_bands = timing.stage(BenchStage::Vae, &in_bands)?;
    let taesd = taesd_seconds(options, &mut timing)?;
    let parts = PartSeconds { text, step, unguided, shallow, merged, int8, decode, decode_in_bands, taesd };
    let row = |switches| AdviceRow { switches, seconds: parts.image(switches) };
    let rows = SpeedSwitches::all().into_iter().map(row).collect();
    Ok(SpeedAdvice { options: options.clone(), threads: parallel::threads(), parts, rows })
}

/// Times parts, and says so.
struct Timing<'a> {
    runs: usize,
    progress: &'a mut dyn FnMut(&str),
}

impl Timing<'_> {
    /// Seconds of the median run of each of some parts, which take turns, so that whatever else the machine does reaches
    /// all of them. The first round warms up where there is more than one.
    fn parts<const N: usize>(
        &mut self,
        labels: [&str; N],
        part: impl Fn(usize) -> Result<Vec<Tensor>, Error>,
    ) -> Result<[f64; N], AppError> {
        let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
        for run in 0..=self.runs {
            for (at, (label, times)) in labels.iter().zip(&mut times).enumerate() {
                let start = Instant::now();
                let results = part(at)?;
                let seconds = start.elapsed().as_secs_f64();
                for result in results {
                    check_finite(result.f32s().map_err(Error::from)?, label)?;
                }
                if run > 0 {
                    times.push(seconds);
                    (self.progress)(&format!("{label}: run {run} of {}, {seconds:.3} s", self.runs));
                }
            }
        }
        Ok(times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[(times.len() - 1) / 2]
        }))
    }

    /// Seconds of a stage.
    fn stage(&mut self, stage: BenchStage, options: &BenchOptions) -> Result<f64, AppError> {
        let label = match options.vae_tiling {
            VaeTiling::Bands => "VAE decode in bands".to_owned(),
            VaeTiling::Off if options.precision == Precision::Int8 => "UNet, one CFG step in int8".to_owned(),
            VaeTiling::Off => stage.label(CFG_BATCH),
        };
        let forward = stage.load(options, &Device::Cpu)?;
        let [seconds] = self.parts([&label], |_| forward())?;
        drop(forward);
        Pool::global().trim();
        Ok(seconds)
    }
}

/// Seconds of a step: with guidance, without, with guidance on the coarse levels of another, and with tokens merged.
fn unet_seconds(options: &BenchOptions, timing: &mut Timing<'_>) -> Result<[f64; 5], AppError> {
    let sizes = options.family.sizes();
    let unet = UNet::load(&synthetic_params(&Device::Cpu), &sizes.unet)?;
    let step = UNetStep::new(&unet, options.side, &sizes, CFG_BATCH)?;
    let unguided = UNetStep::new(&unet, options.side, &sizes, 1)?;
    let mut merged = Vec::new();
    for part in TOKEN_MERGING {
        let mut step = UNetStep::new(&unet, options.side, &sizes, CFG_BATCH)?;
        step.condition.set_token_merging(part);
        merged.push(step);
    }
    let mut deep = None;
    step.run(&unet, DeepCache::Keep(&mut deep))?;
    let deep = deep.ok_or_else(|| AppError::RunTime("no levels were kept".into()))?;
    let labels = [
        "UNet, one CFG step",
        "UNet, without guidance",
        "UNet, one CFG step on cached levels",
        "UNet, one CFG step with 30 % merged",
        "UNet, one CFG step with 50 % merged",
    ];
    let seconds = timing.parts(labels, |at| match at {
        0 => step.run(&unet, DeepCache::Off),
        1 => unguided.run(&unet, DeepCache::Off),
        2 => step.run(&unet, DeepCache::Reuse(&deep)),
        merged_at => merged[merged_at - 3].run(&unet, DeepCache::Off),
    })?;
    drop(deep);
    Pool::global().trim();
    Ok(seconds)
}

/// What a UNet is given in a step.
struct UNetStep {
    latents: Tensor,
    condition: Condition,
}

impl UNetStep {
    fn new(unet: &UNet, side: usize, sizes: &ModelSizes, batch: usize) -> Result<UNetStep, Error> {
        let config = &sizes.unet;
        let text = normal(&[batch, CONTEXT, config.cross_attention_dim])?;
        let added = config.added_dim.map(|dim| normal(&[batch, dim])).transpose()?;
        let latents = latents_of(sizes, side, [batch, config.in_channels])?;
        Ok(UNetStep { latents, condition: unet.condition(&text, added.as_ref())? })
    }

    fn run(&self, unet: &UNet, cache: DeepCache<'_>) -> Result<Vec<Tensor>, Error> {
        let timesteps = vec![TIMESTEP; self.latents.dims()[0]];
        Ok(vec![unet.forward_with(&self.latents, &timesteps, &self.condition, None, cache)?])
    }
}

/// Seconds of decoding with a tiny VAE.
fn taesd_seconds(options: &BenchOptions, timing: &mut Timing<'_>) -> Result<f64, AppError> {
    let sizes = options.family.sizes();
    let latent_channels = sizes.vae.latent_channels;
    let config = TaesdConfig { channels: TAESD_CHANNELS, latent_channels };
    let decoder = TaesdDecoder::load(&synthetic_params(&Device::Cpu), &config)?;
    let latent = latents_of(&sizes, options.side, [1, latent_channels])?;
    let [seconds] = timing.parts(["TAESD decode"], |_| Ok(vec![decoder.decode(&latent)?]))?;
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: PartSeconds = PartSeconds {
        text: 1.0,
        step: 10.0,
        unguided: 5.0,
        shallow: 4.0,
        merged: [8.0, 7.0],
        int8: 6.0,
        decode: 9.0,
        decode_in_bands: 12.0,
        taesd: 2.0,
    };

    #[test]
    fn an_image_is_the_sum_of_its_steps() {
        let none = SpeedSwitches::NONE;
        let seconds = |switches| PARTS.image(switches);
        assert_eq!(seconds(none), 210.0);
        assert_eq!(seconds(SpeedSwitches { cache: 2, ..none }), 10.0 + 10.0 * 14.0);
        // Steps 0, 3, 6, 9, 12, 15 and 18.
        assert_eq!(seconds(SpeedSwitches { cache: 3, ..none }), 10.0 + 70.0 + 13.0 * 4.0);
        assert_eq!(seconds(SpeedSwitches { cfg_end: 0.6, ..none }), 10.0 + 120.0 + 40.0);
        assert_eq!(seconds(SpeedSwitches { tome: 0.5, ..none }), 10.0 + 140.0);
        assert!((seconds(SpeedSwitches { int8: true, ..none }) - 130.0).abs() < 1e-9);
        assert_eq!(seconds(SpeedSwitches { taesd: true, ..none }), 203.0);
        assert_eq!(seconds(SpeedSwitches { low_memory: true, ..none }), 213.0);
        assert_eq!(seconds(SpeedSwitches { few_steps: true, ..none }), 10.0 + 20.0);
        // Guided: six whole ones and ten others; unguided: 16 where guidance ends and 18, with 17 and 19 between.
        let both = SpeedSwitches { cache: 3, cfg_end: 0.8, ..none };
        assert_eq!(seconds(both), 10.0 + 60.0 + 40.0 + 10.0 + 4.0);
    }

    #[test]
    fn every_row_but_those_of_other_models_says_how_near_its_images_are() {
        for switches in SpeedSwitches::all() {
            let is_other = switches.taesd || switches.few_steps;
            assert_eq!(switches.likeness().is_none(), is_other, "{switches:?}");
        }
        let infinite = Likeness { median: f64::INFINITY, worst: f64::INFINITY };
        let in_bands = SpeedSwitches { low_memory: true, ..SpeedSwitches::NONE };
        assert_eq!(in_bands.likeness(), Some(infinite));
    }
}
