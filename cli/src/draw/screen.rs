//! The events of a job on the terminal.

use super::preview::PreviewTarget;
use crate::console;
use crate::errors::describe;
use crate::progress::Progress;
use latent_app::JobEvent;
use latent_app::text::format_bytes;
use latent_diffusion::{Event, Stage};
use latent_loader::Plain;
use std::ops::ControlFlow;

/// Shows events: progress bars, lines on the error stream, previews.
pub(super) struct Screen {
    progress: Progress,
    verbose: bool,
    preview: Option<PreviewTarget>,
}

impl Screen {
    pub(super) fn new(verbose: bool, preview: Option<PreviewTarget>) -> Screen {
        Screen { progress: Progress::new(verbose), verbose, preview }
    }

    /// Ends the bar that runs.
    pub(super) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Shows an event. Always goes on.
    pub(super) fn show(&mut self, event: &JobEvent) -> ControlFlow<()> {
        if let Some(stage) = stage(event) {
            self.progress.show(&stage);
        } else if let JobEvent::Step { step, total, .. } = *event {
            self.progress.show_step(step, total);
        } else if let JobEvent::Preview(image) = event {
            let shown = self.preview.as_ref().map(|target| self.progress.suspend(|| target.show(image)));
            if let Some(Err(error)) = shown {
                self.preview = None;
                console::hint(format_args!(
                    "latent: preview: {}; going on without",
                    Plain(&error.to_string())
                ));
            }
        } else if let Some(line) = self.line(event) {
            // Only the estimate of the memory has several lines, and no text of a file.
            match event {
                JobEvent::MemoryEstimated { .. } => console::hint(line),
                _ => console::hint(Plain(&line)),
            }
        }
        ControlFlow::Continue(())
    }

    /// The line of an event that has one.
    fn line(&mut self, event: &JobEvent) -> Option<String> {
        Some(match event {
            JobEvent::PartDoubtful(line) => format!("latent: {line}"),
            JobEvent::LoraApplied(line) => format!("LoRA {line}"),
            JobEvent::EmbeddingOpened { label, word, vectors, is_used } => {
                let vectors =
                    if *vectors == 1 { "1 vector".to_owned() } else { format!("{vectors} vectors") };
                let unused = if *is_used { "" } else { ", not in the prompt" };
                format!("embedding {label}: {vectors} for {word:?}{unused}")
            }
            JobEvent::GpuUnavailable(reason) => format!("latent: {reason}; drawing on the CPU"),
            JobEvent::GpuFailed(reason) => format!("latent: {reason}; continuing on the CPU"),
            JobEvent::GpuLeftOut(reason) => format!("latent: {reason}; the other GPUs draw its images"),
            JobEvent::GpuWeights { gpu, weights, limit } => {
                return self.verbose.then(|| gpu_line(gpu, *weights, *limit));
            }
            JobEvent::PipelinesNotKept(reason) => {
                format!("latent: {reason}; compiled pipelines are not kept")
            }
            JobEvent::PreviewFailed(reason) => format!("latent: preview: {reason}; going on without"),
            JobEvent::RetriedInF32(reason) => {
                self.progress.finish();
                format!("latent: {reason}; once more in f32")
            }
            JobEvent::MemoryEstimated { stage, bytes, available } => {
                return memory_lines(*stage, *bytes, *available, self.verbose);
            }
            JobEvent::FewSteps { kind, steps, cfg_scale, sampler } => {
                format!("a {kind} model: steps {steps}, cfg scale {cfg_scale}, sampler {sampler}")
            }
            JobEvent::SeedChosen(seed) => format!("seed {seed}"),
            JobEvent::GridCell { index, total, label } => {
                self.progress.finish();
                format!("{} of {total}: {label}", index + 1)
            }
            JobEvent::GridCellFailed { label, error } => {
                self.progress.finish();
                format!("latent: {}", Plain(&format!("{label}: {}", describe(error))))
            }
            _ => return None,
        })
    }
}

/// An event of the pipeline for the progress bars.
fn stage(event: &JobEvent) -> Option<Event<'static>> {
    Some(match *event {
        JobEvent::Loading { component, read, total } => Event::Loading { component, read, total },
        JobEvent::Encoded { image, total } => Event::Encoded { image, total },
        JobEvent::Block { stage, block, total } => Event::Block { stage, block, total },
        JobEvent::Upscaled { tile, total } => Event::Upscaled { tile, total },
        JobEvent::Decoded { image, total } => Event::Decoded { image, total },
        _ => return None,
    })
}

/// The estimate, if it is asked for, and a warning where this machine has less.
fn memory_lines(stage: Stage, bytes: u64, available: Option<u64>, verbose: bool) -> Option<String> {
    let estimate = verbose.then(|| format!("memory, estimated: {} ({stage})", format_bytes(bytes)));
    let warning = available.and_then(|free| warning(stage, bytes, free));
    let lines: Vec<String> =
        estimate.into_iter().chain(warning.map(|line| format!("latent: {line}"))).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What a GPU holds while it samples.
fn gpu_line(gpu: &str, weights: u64, limit: Option<u64>) -> String {
    let of = limit.map_or_else(String::new, |limit| format!(" of {} that it may use", format_bytes(limit)));
    format!("{gpu}: {}{of} for weights while sampling", format_bytes(weights))
}

fn warning(stage: Stage, needed: u64, free: u64) -> Option<String> {
    let advice = match stage {
        Stage::Decoding | Stage::ImageEncoding => "--vae-tiling takes less",
        Stage::Upscaling => "a smaller image takes less",
        _ => "a smaller image, or fewer at once, takes less",
    };
    let (needed_text, free_text) = (format_bytes(needed), format_bytes(free));
    let line = || format!("{stage} may take {needed_text} of memory, and {free_text} are free; {advice}");
    (needed > free).then(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_stage_and_what_helps() {
        assert_eq!(warning(Stage::Decoding, 2_000_000_000, 2_000_000_000), None);
        let line = warning(Stage::Decoding, 2_000_000_000, 1_000_000_000).unwrap();
        assert_eq!(
            line,
            "decoding may take 2.00 GB of memory, and 1.00 GB are free; --vae-tiling takes less"
        );
        assert!(warning(Stage::Sampling, 2_000_000_000, 1).unwrap().contains("fewer at once"));
    }
}
