//! Progress bars on the terminal's error stream.

use crate::console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use latent_app::threads;
use latent_diffusion::{Event, Stage};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
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
    /// Blocks of the evaluation that runs, done and in all.
    blocks: Arc<[AtomicUsize; 2]>,
    /// Dropped, the thread that redraws the bar ends.
    ticker: Option<Sender<()>>,
}

impl Progress {
    pub(crate) fn new(verbose: bool) -> Progress {
        Progress {
            bar: ProgressBar::hidden(),
            stage: "",
            started: Instant::now(),
            verbose,
            blocks: Arc::default(),
            ticker: None,
        }
    }

    /// Shows an event. The bar may begin in the middle of a stage: of several GPUs, another one may be shown from now on.
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
                if image == 0 || self.stage != "encoding" {
                    self.begin("encoding", total as u64, "{msg:>14} {bar:30} {pos}/{len}{block}");
                }
                self.set_position(image);
            }
            Event::Upscaled { tile, total } => {
                if tile == 0 || self.stage != "upscaling" {
                    self.begin(
                        "upscaling",
                        total as u64,
                        "{msg:>14} {bar:30} {pos}/{len}{block}, {eta} left",
                    );
                }
                self.set_position(tile);
            }
            Event::Step { step, total, .. } => self.show_step(step, total),
            Event::Decoded { image, total } => {
                if image == 0 || self.stage != "decoding" {
                    self.begin("decoding", total as u64, "{msg:>14} {bar:30} {pos}/{len}{block}");
                }
                self.set_position(image);
            }
            Event::Block { stage, block, total } => self.show_block(stage, block, total),
            Event::InF32 { reason } => {
                self.finish();
                console::hint(format_args!("latent: {reason}; running it again in f32"));
            }
            _ => {}
        }
    }

    /// Shows that so many steps of the sampling are done.
    pub(crate) fn show_step(&mut self, step: usize, total: usize) {
        if step == 0 || self.stage != "sampling" {
            let template = "{msg:>14} {bar:30} {pos}/{len}{block}, {per_step}, {eta} left";
            self.begin("sampling", total as u64, template);
        }
        self.set_position(step);
    }

    /// Shows that a part of the stage is done, and the next one begins.
    fn set_position(&self, done: usize) {
        self.blocks[0].store(0, Ordering::Relaxed);
        self.bar.set_position(done as u64);
    }

    /// Shows a block. The bar of encoding text counts nothing else.
    fn show_block(&mut self, stage: Stage, block: usize, total: usize) {
        if stage == Stage::TextEncoding {
            if self.stage != stage.name() {
                self.begin(stage.name(), total as u64, "{msg:>14} {bar:30} {pos}/{len}");
            }
            self.bar.set_position(block as u64);
            return;
        }
        self.blocks[1].store(total, Ordering::Relaxed);
        self.blocks[0].store(block, Ordering::Relaxed);
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
        self.blocks[0].store(0, Ordering::Relaxed);
        let per_step = |state: &ProgressState, out: &mut dyn Write| {
            let seconds = state.elapsed().as_secs_f64() / state.pos().max(1) as f64;
            // A bar that cannot be written is not an error.
            let _ = match state.pos() {
                0 => write!(out, "- s/it"),
                _ if seconds >= 1.0 => write!(out, "{seconds:.2} s/it"),
                _ => write!(out, "{:.2} it/s", 1.0 / seconds),
            };
        };
        let blocks = self.blocks.clone();
        let block = move |_: &ProgressState, out: &mut dyn Write| write_block(&blocks, out);
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        self.bar
            .set_style(style.with_key("per_step", per_step).with_key("block", block).progress_chars("=> "));
        self.bar.set_message(stage);
        self.ticker = if self.bar.is_hidden() { None } else { ticker(&self.bar) };
    }

    /// Ends the running bar, and under `--verbose` prints how long its stage took.
    pub(crate) fn finish(&mut self) {
        self.ticker = None;
        self.bar.finish_and_clear();
        if self.verbose && !self.stage.is_empty() {
            console::hint(format_args!("{:>14} {:.2} s", self.stage, self.started.elapsed().as_secs_f64()));
        }
        self.stage = "";
    }
}

/// Writes the blocks done of the evaluation that runs: ", block 7/25"; nothing where none is.
fn write_block([done, total]: &[AtomicUsize; 2], out: &mut dyn Write) {
    let [done, total] = [done, total].map(|number| number.load(Ordering::Relaxed));
    if done > 0 {
        // A bar that cannot be written is not an error.
        let _ = write!(out, ", block {done}/{total}");
    }
}

/// Redraws a bar until its sender is dropped. Without a thread for it, which indicatif's own would insist on, the bar is drawn
/// when something happens.
fn ticker(bar: &ProgressBar) -> Option<Sender<()>> {
    let (send, ended) = channel();
    let bar = bar.clone();
    let redraw = move || {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            bar.tick();
        }
    };
    threads::spawn(redraw).ok().map(|_| send)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_its_blocks() {
        let mut progress = Progress::new(false);
        let text = |progress: &Progress| {
            let mut out = String::new();
            write_block(&progress.blocks, &mut out);
            out
        };
        progress.show_step(0, 20);
        assert_eq!(text(&progress), "");
        progress.show(&Event::Block { stage: Stage::Sampling, block: 7, total: 25 });
        assert_eq!(text(&progress), ", block 7/25");
        progress.show_step(1, 20);
        assert_eq!(text(&progress), "");
    }
}
