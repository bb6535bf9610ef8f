//! Commands that draw: a job is run, its images are written, and the terminal shows how it is coming on.

mod preview;
mod screen;

use crate::args::{DrawingArgs, PreviewArgs};
use crate::{interrupt, warn};
use latent_app::contact_sheet::ContactSheet;
use latent_app::job::PreviewOptions;
use latent_app::output::Output;
use latent_app::{AppError, CancelToken, Job, JobEvent, JobImage, Session};
use preview::PreviewTarget;
use screen::Screen;
use std::ops::ControlFlow;
use std::path::Path;

/// Draws the images of a command, until its end or Ctrl-C.
pub(crate) fn run(args: &DrawingArgs) -> Result<(), AppError> {
    let mut drawing = TerminalSession::new(args.threads, args.verbose, Some(&args.preview))?;
    let output = Output::new(args.output.as_deref(), &args.job.prompt)?.with_quality(args.quality);
    let count = args.job.batch.count();
    let mut contact = args.grid.then(|| ContactSheet::new(count)).transpose()?;
    drawing.run(&args.job, &mut |drawn| {
        let path = output.path(drawn.index, drawn.seed);
        warn(output.write_with_opacity(&path, &drawn.image, drawn.rgba.as_deref(), &drawn.texts)?);
        print_written(&path, &format!("seed {}", drawn.seed));
        if let Some(contact) = &mut contact {
            contact.add(drawn.image.clone(), drawn.texts.clone(), &path);
        }
        Ok(())
    })?;
    if let Some((path, sheet, texts)) = contact.and_then(ContactSheet::finish) {
        warn(output.write(&path, &sheet, &texts)?);
        print_written(&path, &format!("{count} images"));
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

    /// Runs a job; an error of `take` ends it.
    fn run(
        &mut self,
        job: &Job,
        take: &mut (dyn FnMut(&JobImage) -> Result<(), AppError> + Send),
    ) -> Result<(), AppError> {
        let job = self.with_preview(job);
        let mut failed = None;
        let drawn = self.session.run(&job, &self.cancel, &mut |event| {
            if let JobEvent::Image(drawn) = &event {
                failed = take(drawn).err();
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
pub(crate) fn print_written(path: &Path, of: &str) {
    // If nobody reads the output any more, drawing continues.
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{} ({of})\n", path.display()));
}
