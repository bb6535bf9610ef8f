//! Progress bars on the terminal's error stream.

use crate::console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use latent_diffusion::Event;
use std::time::{Duration, Instant};

/// How often a bar is redrawn while nothing happens, so that its time is current.
const TICK: Duration = Duration::from_millis(200);

/// The bar of the running stage.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// The stage that the bar shows; empty if none.
    stage: &'static str,
    started: Instant,
    verbose: bool,
}

impl Progress {
    pub(crate) fn new(verbose: bool) -> Progress {
        Progress { bar: ProgressBar::hidden(), stage: "", started: Instant::now(), verbose }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match *event {
            Event::Loading { component, read, total } => {
                let component = component.name();
                if self.stage != component {
                    self.begin(component, total, "{msg:>14} {bar:30} {bytes}/{total_bytes}");
                }
                self.bar.set_position(read);
            }
            Event::Written { written, total } => {
                if written == 0 {
                    self.begin("converting", total, "{msg:>14} {bar:30} {bytes}/{total_bytes}, {eta} left");
                }
                self.bar.set_position(written);
            }
            Event::Encoded { image, total } => {
                if image == 0 {
                    self.begin("encoding", total as u64, "{msg:>14} {bar:30} {pos}/{len}");
                }
                self.bar.set_position(image as u64);
            }
            Event::Upscaled { tile, total } => {
                if tile == 0 {
                    self.begin("upscaling", total as u64, "{msg:>14} {bar:30} {pos}/{len}, {eta} left");
                }
                self.bar.set_position(tile as u64);
            }
            Event::Step { step, total, .. } => {
                if step == 0 {
                    self.begin(
                        "sampling",
                        total as u64,
                        "{msg:>14} {bar:30} {pos}/{len}, {per_step}, {eta} left",
                    );
                }
                self.bar.set_position(step as u64);
            }
            Event::Decoded { image, total } => {
                if image == 0 {
                    self.begin("decoding", total as u64, "{msg:>14} {bar:30} {pos}/{len}");
                }
                self.bar.set_position(image as u64);
            }
            Event::InF32 { reason } => {
                self.finish();
                console::hint(format_args!("latent: {reason}; running it again in f32"));
            }
            _ => {}
        }
    }

    /// Runs something that writes to the terminal, with the bar hidden.
    pub(crate) fn suspend<R>(&self, act: impl FnOnce() -> R) -> R {
        self.bar.suspend(act)
    }

    /// Ends the running bar and starts one for a stage.
    fn begin(&mut self, stage: &'static str, total: u64, template: &str) {
        self.finish();
        self.stage = stage;
        self.started = Instant::now();
        let per_step = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let seconds = state.elapsed().as_secs_f64() / state.pos().max(1) as f64;
            // A bar that cannot be written is not an error.
            let _ = match state.pos() {
                0 => write!(out, "- s/it"),
                _ if seconds >= 1.0 => write!(out, "{seconds:.2} s/it"),
                _ => write!(out, "{:.2} it/s", 1.0 / seconds),
            };
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        self.bar.set_style(style.with_key("per_step", per_step).progress_chars("=> "));
        self.bar.set_message(stage);
        self.bar.enable_steady_tick(TICK);
    }

    /// Ends the running bar, and under `--verbose` prints how long its stage took.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        if self.verbose && !self.stage.is_empty() {
            console::hint(format_args!("{:>14} {:.2} s", self.stage, self.started.elapsed().as_secs_f64()));
        }
        self.stage = "";
    }
}
