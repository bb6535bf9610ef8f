//! Commands that draw: a job is run, its images are written, and the terminal shows how it is coming on.

mod preview;
mod screen;

use crate::args::{DrawingArgs, PreviewArgs};
use crate::{console, hint_excess, image_output, interrupt, warn};
use latent_app::contact_sheet::ContactSheet;
use latent_app::job::PreviewOptions;
use latent_app::output::{Output, WrittenImage, pattern_of_prompt};
use latent_app::{AppError, CancelToken, Job, JobEvent, JobImage, Session};
use latent_loader::Plain;
use preview::PreviewTarget;
use screen::Screen;
use std::ops::ControlFlow;

/// Draws the images of a command, until its end or Ctrl-C.
pub(crate) fn run(args: &DrawingArgs) -> Result<(), AppError> {
    // The names of a batch are counted next, so there must not be billions.
    args.job.check()?;
    let mut drawing = TerminalSession::new(args.threads, args.verbose, Some(&args.preview))?;
    let default = || Output::with_default_name(&pattern_of_prompt(&args.job.prompt));
    let output = image_output::open(args.output.as_deref(), default)?.with_quality(args.quality);
    image_output::check_preview(&output, &args.preview)?;
    let count = args.job.batch.count();
    let mut contact = args.grid.then(|| ContactSheet::new(count)).transpose()?;
    let check = |seed| image_output::check(&output, args, seed);
    if !output.has_seed() {
        check(0)?;
    }
    let check = |seed| if output.has_seed() { check(seed) } else { Ok(()) };
    drawing.run(&args.job, &check, &mut |drawn| {
        let path = output.path(drawn.index, drawn.seed);
        let written = output.write_with_opacity(&path, &drawn.image, drawn.rgba.as_deref(), &drawn.texts)?;
        print_written(&written, &format!("seed {}", drawn.seed));
        if let Some(contact) = &mut contact {
            let path = written.path.as_deref().unwrap_or(&path);
            contact.add(drawn.image.clone(), drawn.texts.clone(), path);
        }
        warn(written);
        Ok(())
    })?;
    if let Some((path, sheet, texts)) = contact.and_then(ContactSheet::finish) {
        let written = output.write(&path, &sheet, &texts)?;
        print_written(&written, &format!("{count} images"));
        warn(written);
    }
    Ok(())
}

/// A session, the token that Ctrl-C cancels, and what the terminal shows.
pub(crate) struct TerminalSession {
    pub(crate) session: Session,
    pub(crate) cancel: CancelToken,
    screen: Screen,
    preview: Option<PreviewOptions>,
}

impl TerminalSession {
    /// Listens for Ctrl-C, and checks where previews go.
    pub(crate) fn new(
        threads: Option<usize>,
        verbose: bool,
        preview: Option<&PreviewArgs>,
    ) -> Result<TerminalSession, AppError> {
        hint_excess(threads);
        let session = Session::new().with_threads(threads);
        let cancel = CancelToken::from(interrupt::listen()?);
        let target = preview.map(PreviewTarget::open).transpose()?.flatten();
        let options =
            preview.filter(|_| target.is_some()).map(|args| PreviewOptions::every(args.preview_interval));
        Ok(TerminalSession { session, cancel, screen: Screen::new(verbose, target), preview: options })
    }

    /// A job with the previews that the terminal or a file shows.
    pub(crate) fn with_preview(&self, job: &Job) -> Job {
        let mut job = job.clone();
        job.preview.clone_from(&self.preview);
        job
    }

    /// Runs a job; an error of `take` ends it. `check` gets the seed of the first image before anything is drawn.
    fn run(
        &mut self,
        job: &Job,
        check: &(dyn Fn(u64) -> Result<(), AppError> + Sync),
        take: &mut (dyn FnMut(&JobImage) -> Result<(), AppError> + Send),
    ) -> Result<(), AppError> {
        let job = self.with_preview(job);
        job.sampling.seed.map_or(Ok(()), check)?;
        let mut failed = None;
        let drawn = self.session.run(&job, &self.cancel, &mut |event| {
            match &event {
                JobEvent::Image(drawn) => failed = take(drawn).err(),
                JobEvent::SeedChosen(seed) => failed = check(*seed).err(),
                _ => {}
            }
            let flow = self.screen.show(&event);
            if failed.is_some() { ControlFlow::Break(()) } else { flow }
        });
        self.screen.finish();
        failed.map_or(drawn, Err)
    }

    /// Does work with what it needs: the session, the token, and an observer that shows the events.
    pub(crate) fn with_screen<R>(
        &mut self,
        work: impl FnOnce(&mut Session, &CancelToken, &mut latent_app::session::JobObserver<'_>) -> R,
    ) -> R {
        let TerminalSession { session, cancel, screen, .. } = self;
        let result = work(session, cancel, &mut |event| screen.show(&event));
        screen.finish();
        result
    }
}

/// Prints that a file was written.
pub(crate) fn print_written(written: &WrittenImage, of: &str) {
    let Some(path) = &written.path else { return };
    console::print_on_the_way(&format!("{} ({of})\n", Plain(&path.display().to_string())));
}
