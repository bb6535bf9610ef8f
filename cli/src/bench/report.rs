//! The figures, for people and for programs.

use super::Measured;
use super::memory::Use;
use super::stage::{CFG, CHOICES};
use latent_diffusion::VaeTiling;
use latent_diffusion::families::PublishedModel;
use latent_diffusion::tensor::profile::Class;
use latent_kernels::Isa;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Steps of the image that is reckoned up.
const STEPS: usize = 20;

/// Everything that was measured.
pub(super) struct Report {
    pub(super) family: &'static PublishedModel,
    pub(super) side: usize,
    /// UNet evaluations at once.
    pub(super) batch: usize,
    pub(super) memory: VaeTiling,
    pub(super) runs: usize,
    pub(super) threads: usize,
    /// Floating-point operations a second that the machine could do before each run, slowest first.
    pub(super) peaks: Vec<f64>,
    /// Bytes; `None` where it cannot be known.
    pub(super) peak_rss: Option<u64>,
    pub(super) stages: Vec<Measured>,
}

/// Seconds and operations of a stage or of a class of its ops.
#[derive(Clone, Copy)]
struct Figures {
    seconds: f64,
    flops: u64,
}

impl Figures {
    fn gflop(self) -> f64 {
        self.flops as f64 / 1e9
    }

    /// Billions of operations a second; none for what counts none.
    fn gflop_per_second(self) -> Option<f64> {
        (self.flops > 0 && self.seconds > 0.0).then(|| self.gflop() / self.seconds)
    }

    /// That as a part of a peak in operations a second.
    fn of_peak(self, peak: f64) -> Option<f64> {
        self.gflop_per_second().map(|speed| speed * 1e9 / peak)
    }
}

impl Measured {
    fn figures(&self) -> Figures {
        Figures { seconds: self.seconds, flops: self.profile.total().flops }
    }

    /// Names and figures of the classes of ops, and of what is in none of them.
    fn ops(&self) -> impl Iterator<Item = (&'static str, Figures)> {
        let classes = Class::ALL.into_iter().map(|class| {
            let work = self.profile.work(class);
            (class_name(class), Figures { seconds: work.time.as_secs_f64(), flops: work.flops })
        });
        let rest = (self.seconds - self.profile.total().time.as_secs_f64()).max(0.0);
        classes.chain([("other", Figures { seconds: rest, flops: 0 })])
    }
}

/// Every convolution of these models that is none of 1x1 is one of 3x3.
fn class_name(class: Class) -> &'static str {
    match class {
        Class::Conv => "conv3x3",
        Class::Linear => "linear",
        Class::Attention => "attention",
        Class::Norm => "norm",
        Class::Elementwise => "elementwise",
    }
}

impl Report {
    /// Seconds of an image: text, steps, decoding; none if a stage was not measured, or the UNet in another batch.
    fn image_seconds(&self) -> Option<f64> {
        let whole = self.batch == CFG && self.stages.len() == CHOICES[0].stages.len();
        let seconds = self.stages.iter().map(|m| m.seconds * m.stage.runs_of_image(STEPS) as f64);
        whole.then(|| seconds.sum())
    }

    fn peak_anonymous(&self) -> Option<u64> {
        self.stages.iter().filter_map(|m| m.memory).reduce(Use::highest).map(|highest| highest.anonymous)
    }

    /// Operations a second that the machine can do: the median.
    fn fma_peak(&self) -> f64 {
        self.peaks[self.peaks.len() / 2]
    }

    /// The slowest and the fastest of them: far apart where the machine had other work to do.
    fn peak_range(&self) -> [f64; 2] {
        [self.peaks[0], self.peaks[self.peaks.len() - 1]].map(|peak| peak / 1e9)
    }

    fn json_of(&self, figures: Figures) -> Value {
        json!({
            "seconds": figures.seconds,
            "direct_gflop": figures.gflop(),
            "of_peak": figures.of_peak(self.fma_peak()),
        })
    }

    fn json_of_stage(&self, measured: &Measured) -> Value {
        let ops = measured.ops().map(|(name, figures)| {
            let mut op = self.json_of(figures);
            op["share"] = (figures.seconds / measured.seconds).into();
            (name.to_owned(), op)
        });
        let mut stage = self.json_of(measured.figures());
        stage["name"] = measured.stage.id().into();
        stage["peak_rss_mb"] = measured.memory.map(|memory| megabytes(memory.rss)).into();
        stage["peak_anon_mb"] = measured.memory.map(|memory| megabytes(memory.anonymous)).into();
        stage["ops"] = Value::Object(ops.collect());
        stage
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "family": self.family.id,
            "size": self.side,
            "batch": self.batch,
            "low_memory": self.memory == VaeTiling::Bands,
            "runs": self.runs,
            "threads": self.threads,
            "isa": Isa::best().name(),
            "fma_peak_gflops": self.fma_peak() / 1e9,
            "fma_peak_range_gflops": self.peak_range(),
            "stages": self.stages.iter().map(|measured| self.json_of_stage(measured)).collect::<Vec<_>>(),
            "peak_rss_mb": self.peak_rss.map(megabytes),
            "peak_anon_mb": self.peak_anonymous().map(megabytes),
            "image_20_steps_seconds": self.image_seconds(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            let _ = writeln!(out, "{}", text.trim_end());
        };
        let Report { side, threads, runs, .. } = self;
        let how = if self.memory == VaeTiling::Bands { ", decoded in bands" } else { "" };
        line(&format!("{}, {side}x{side}, random weights in f16{how}", self.family.label));
        line(&format!("{threads} threads, {}; median of {runs} runs after a warm-up", Isa::best()));
        let (peak, [slowest, fastest]) = (self.fma_peak() / 1e9, self.peak_range());
        line(&format!(
            "FMA peak {peak:.1} GFLOP/s: the median of bursts before each run, {slowest:.1} to {fastest:.1}"
        ));
        line("");
        line(&row(
            "",
            ["seconds", "share", "GFLOP", "GFLOP/s", "of peak", "RSS MB", "anon MB"].map(str::to_owned),
        ));
        for m in &self.stages {
            let memory = |of: fn(Use) -> u64| match m.memory {
                Some(memory) => format!("{:.0}", megabytes(of(memory))),
                None => "-".to_owned(),
            };
            let columns = self.columns(m.figures(), m.seconds);
            line(&row(
                &m.stage.label(self.batch),
                with_vae_tiling(columns, [memory(|m| m.rss), memory(|m| m.anonymous)]),
            ));
            for (name, figures) in m.ops().filter(|(_, figures)| figures.seconds > 0.0) {
                let columns = self.columns(figures, m.seconds);
                line(&row(&format!("  {name}"), with_vae_tiling(columns, Default::default())));
            }
        }
        line("");
        line("GFLOP: operations of the direct algorithm; a better one can exceed 100 % of peak");
        line(&match (self.peak_rss, self.peak_anonymous()) {
            (Some(rss), Some(anonymous)) => {
                let (rss, anonymous) = (megabytes(rss), megabytes(anonymous));
                format!("peak memory: {rss:.0} MB resident, {anonymous:.0} MB of it anonymous")
            }
            _ => "peak memory: not measured".to_owned(),
        });
        if let Some(seconds) = self.image_seconds() {
            line(&format!(
                "an image of {STEPS} steps: {seconds:.1} s (text, {STEPS} CFG steps, decoding; no loading)"
            ));
        }
        out
    }

    /// Seconds, share of a stage, operations and speed.
    fn columns(&self, figures: Figures, stage_seconds: f64) -> [String; 5] {
        let or_none = |text: Option<String>| text.unwrap_or_default();
        [
            format!("{:.3}", figures.seconds),
            format!("{:.1} %", 100.0 * figures.seconds / stage_seconds),
            or_none((figures.flops > 0).then(|| format!("{:.1}", figures.gflop()))),
            or_none(figures.gflop_per_second().map(|speed| format!("{speed:.1}"))),
            or_none(figures.of_peak(self.fma_peak()).map(|part| format!("{:.1} %", 100.0 * part))),
        ]
    }
}

fn with_vae_tiling([a, b, c, d, e]: [String; 5], [f, g]: [String; 2]) -> [String; 7] {
    [a, b, c, d, e, f, g]
}

fn row(name: &str, columns: [String; 7]) -> String {
    columns.iter().fold(format!("{name:<23}"), |row, column| format!("{row}{column:>10}"))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stage::Stage;
    use latent_diffusion::tensor::profile::Profile;

    fn report(stages: &[(Stage, f64)]) -> Report {
        let measured =
            |&(stage, seconds)| Measured { stage, seconds, profile: Profile::default(), memory: None };
        Report {
            family: latent_diffusion::families::published().next().unwrap(),
            side: 512,
            batch: CFG,
            memory: VaeTiling::Off,
            runs: 1,
            threads: 1,
            peaks: vec![0.5e11, 1e11, 1.2e11],
            peak_rss: None,
            stages: stages.iter().map(measured).collect(),
        }
    }

    #[test]
    fn a_image_is_reckoned_up_from_all_stages() {
        let mut whole = report(&[(Stage::Text, 0.5), (Stage::UNet, 10.0), (Stage::Vae, 20.0)]);
        assert_eq!(whole.json()["image_20_steps_seconds"], 220.5);
        assert!(whole.text().contains("an image of 20 steps: 220.5 s"), "{}", whole.text());
        assert!(whole.text().contains("UNet, one CFG step"), "{}", whole.text());
        for (batch, label) in [(1, "UNet, batch 1"), (4, "UNet, CFG, batch 4")] {
            whole.batch = batch;
            assert!(whole.json()["image_20_steps_seconds"].is_null());
            assert!(whole.text().contains(label), "{}", whole.text());
        }
        let part = report(&[(Stage::UNet, 10.0)]);
        assert!(part.json()["image_20_steps_seconds"].is_null());
        assert!(!part.text().contains("an image of"), "{}", part.text());
    }

    #[test]
    fn what_is_not_known_is_told() {
        let report = report(&[(Stage::Vae, 2.0)]);
        assert!(report.text().contains("peak memory: not measured"), "{}", report.text());
        assert!(report.json()["peak_rss_mb"].is_null() && report.json()["peak_anon_mb"].is_null());
        let figures = Figures { seconds: 2.0, flops: 100_000_000_000 };
        assert_eq!(figures.of_peak(1e11), Some(0.5));
        assert_eq!(Figures { seconds: 2.0, flops: 0 }.of_peak(1e11), None);
    }
}
