//! What was measured on a GPU, as a table.

use latent_app::bench::GpuBenchReport;
use std::fmt::Write as _;

pub(super) fn text(report: &GpuBenchReport) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    let (options, peak) = (&report.options, &report.peak);
    let (side, runs) = (options.side, options.runs);
    line(&format!("{}, {side}x{side}, random weights in f16", options.family.label));
    line(&format!("{}, {}; median of {runs} runs after a warm-up", report.adapter, report.dtype));
    let half = peak.f16_flops.map_or(String::new(), |flops| format!(", {:.2} in f16", flops / 1e12));
    let matrices = peak.matrix_flops;
    let matrices = matrices.map_or(String::new(), |flops| format!(", {:.2} in matrices", flops / 1e12));
    line(&format!(
        "measured limits: {:.2} TFLOP/s in f32{half}{matrices}; {:.1} GB/s",
        peak.f32_flops / 1e12,
        peak.bytes / 1e9
    ));
    line("");
    line(&format!("{:<20}{:>10}{:>12}{:>11}{:>10}", "stage", "seconds", "in kernels", "TFLOP/s", "MB"));
    for stage in &report.stages {
        line(&format!(
            "{:<20}{:>10.4}{:>12.4}{:>11.3}{:>10.0}",
            stage.stage.label(options.batch),
            stage.seconds,
            stage.busy(),
            stage.flops() as f64 / stage.seconds / 1e12,
            stage.memory as f64 / 1e6
        ));
    }
    for stage in &report.stages {
        line("");
        line(&format!("{}:", stage.stage.label(options.batch)));
        line(&format!(
            "{:<20}{:>7}{:>11}{:>8}{:>10}{:>10}{:>10}",
            "kernel", "calls", "ms", "share", "TFLOP/s", "GB/s", "of limit"
        ));
        for kernel in &stage.kernels {
            line(&format!(
                "{:<20}{:>7}{:>11.3}{:>7.1}%{:>10.3}{:>10.1}{:>9.1}%",
                kernel.name,
                kernel.calls,
                kernel.seconds * 1e3,
                100.0 * kernel.seconds / stage.busy().max(1e-9),
                kernel.flops_per_second() / 1e12,
                kernel.bytes_per_second() / 1e9,
                100.0 * kernel.of_limit(peak)
            ));
        }
    }
    out
}
