//! What was measured on the CPU, as a table.

use latent_app::bench::{CpuBenchReport, CpuStageReport, Figures, IMAGE_STEPS, ProcessMemory};
use latent_diffusion::VaeTiling;
use latent_diffusion::tensor::Precision;
use latent_kernels::Isa;
use std::fmt::Write as _;

const COLUMNS: [&str; 7] = ["seconds", "share", "GFLOP", "GFLOP/s", "of peak", "RSS MB", "anon MB"];

pub(super) fn text(report: &CpuBenchReport) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    let (options, threads) = (&report.options, report.threads);
    let (side, runs) = (options.side, options.runs);
    let how = if options.vae_tiling == VaeTiling::Bands { ", decoded in bands" } else { "" };
    let merged = match options.token_merging {
        0.0 => String::new(),
        part => format!(", {:.0} % of the tokens merged", 100.0 * part),
    };
    line(&format!("{}, {side}x{side}, random weights in f16{how}{merged}", options.family.label));
    let products = match options.precision {
        Precision::F32 => String::new(),
        precision => format!(", products in {precision}"),
    };
    line(&format!("{threads} threads, {}{products}; median of {runs} runs after a warm-up", Isa::best()));
    let (peak, [slowest, fastest]) = (report.fma_peak(), report.fma_peak_range());
    line(&format!(
        "FMA peak {:.1} GFLOP/s: the median of bursts before each run, {slowest:.1} to {fastest:.1}",
        peak / 1e9
    ));
    if options.precision != Precision::F32 {
        let (speed, instruction) = (report.instruction_peak(), report.instruction);
        let times = speed / peak;
        line(&format!(
            "{instruction} peak {:.1} GFLOP/s, {times:.2} times FMA's: what {} multiplies with",
            speed / 1e9,
            options.precision
        ));
    }
    line("");
    line(&row("", &COLUMNS.map(str::to_owned)));
    for stage in &report.stages {
        rows(stage, &stage.stage.label(options.batch), peak).iter().for_each(|row| line(row));
    }
    line("");
    line("GFLOP: operations of the direct algorithm; a better one can exceed 100 % of the FMA peak");
    line(&match (report.peak_rss, report.peak_anonymous()) {
        (Some(rss), Some(anonymous)) => {
            let (rss, anonymous) = (megabytes(rss), megabytes(anonymous));
            format!("peak memory: {rss} MB resident, {anonymous} MB of it anonymous")
        }
        _ => "peak memory: not measured".to_owned(),
    });
    if let Some(seconds) = report.image_seconds() {
        line(&format!(
            "an image of {IMAGE_STEPS} steps: {seconds:.1} s (text, {IMAGE_STEPS} CFG steps, decoding; no loading)"
        ));
    }
    out
}

/// The rows of a stage: its own, and one for each class of ops.
fn rows(stage: &CpuStageReport, label: &str, peak: f64) -> Vec<String> {
    let memory =
        |of: fn(ProcessMemory) -> u64| stage.memory.map_or("-".to_owned(), |memory| megabytes(of(memory)));
    let whole = [memory(|memory| memory.rss), memory(|memory| memory.anonymous)];
    let mut rows =
        vec![row(label, &[columns(stage.figures(), stage.seconds, peak).as_slice(), &whole].concat())];
    for (name, figures) in stage.ops().filter(|(_, figures)| figures.seconds > 0.0) {
        rows.push(row(&format!("  {name}"), &columns(figures, stage.seconds, peak)));
    }
    rows
}

/// Seconds, share of a stage, operations and speed.
fn columns(figures: Figures, stage_seconds: f64, peak: f64) -> [String; 5] {
    let or_none = |text: Option<String>| text.unwrap_or_default();
    [
        format!("{:.3}", figures.seconds),
        format!("{:.1} %", 100.0 * figures.seconds / stage_seconds),
        or_none((figures.flops > 0).then(|| format!("{:.1}", figures.gflop()))),
        or_none(figures.gflop_per_second().map(|speed| format!("{speed:.1}"))),
        or_none(figures.of_peak(peak).map(|part| format!("{:.1} %", 100.0 * part))),
    ]
}

fn row(name: &str, columns: &[String]) -> String {
    columns.iter().fold(format!("{name:<23}"), |row, column| format!("{row}{column:>10}"))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_app::bench::{BenchOptions, BenchStage};
    use latent_diffusion::families::published;
    use latent_diffusion::tensor::profile::Profile;

    fn report(stages: &[(BenchStage, f64)]) -> CpuBenchReport {
        let measured =
            |&(stage, seconds)| CpuStageReport { stage, seconds, profile: Profile::default(), memory: None };
        CpuBenchReport {
            options: BenchOptions::new(published().next().unwrap()),
            threads: 1,
            peaks: vec![0.5e11, 1e11, 1.2e11],
            instruction: "FMA",
            instruction_peaks: vec![0.5e11, 1e11, 1.2e11],
            peak_rss: None,
            stages: stages.iter().map(measured).collect(),
        }
    }

    #[test]
    fn the_time_of_an_image_is_shown_if_all_stages_were_measured() {
        let mut whole = report(&[(BenchStage::Text, 0.5), (BenchStage::UNet, 10.0), (BenchStage::Vae, 20.0)]);
        assert!(text(&whole).contains("an image of 20 steps: 220.5 s"), "{}", text(&whole));
        assert!(text(&whole).contains("UNet, one CFG step"), "{}", text(&whole));
        for (batch, label) in [(1, "UNet, batch 1"), (4, "UNet, CFG, batch 4")] {
            whole.options.batch = batch;
            assert!(text(&whole).contains(label), "{}", text(&whole));
        }
        let part = text(&report(&[(BenchStage::UNet, 10.0)]));
        assert!(!part.contains("an image of"), "{part}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let text = text(&report(&[(BenchStage::Vae, 2.0)]));
        assert!(text.contains("peak memory: not measured"), "{text}");
    }
}
