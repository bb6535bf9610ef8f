//! From the flags of a command that draws to its files: what all such commands share.

mod about;
mod control;
mod given;
mod hires;
mod job;
mod need;
mod preview;
mod prompts;
mod settings;
mod studio;

pub(crate) use given::{Given, NOT_TOLD, TAGGED, file_of, is_given};
pub(crate) use job::{Fact, Job};
pub(crate) use latent_app::metadata::OutputTexts as Texts;
pub(crate) use settings::random_seed;
pub(crate) use studio::Studio;

use crate::args::{DrawingArgs, HiresArgs};
use crate::output::Output;
use crate::{check_environment, check_threads, interrupt};
use latent_app::AppError;
use latent_app::contact_sheet::ContactSheet;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A command that draws. What is not its own is done by [`run`].
pub(crate) trait Verb: Sync {
    /// Its name, which the images' files tell.
    fn name(&self) -> &'static str;

    /// What to draw.
    fn prompt(&self) -> &str;

    /// Flags of all such commands.
    fn args(&self) -> &DrawingArgs;

    /// Flags of a second pass.
    fn hires(&self) -> Option<&HiresArgs> {
        None
    }

    /// Reads what the command is given beside words, and puts the size to draw into the settings.
    fn job(&self, settings: &mut Settings, model: &Model) -> Result<Box<dyn Job>, AppError>;
}

/// An image, and how it was made.
pub(crate) struct Drawn {
    pub(crate) image: Image,
    /// Its number in the command.
    pub(crate) index: usize,
    pub(crate) seed: u64,
    /// What its file tells, by keyword.
    pub(crate) texts: Texts,
}

/// Takes images as they are drawn.
pub(crate) type Sink<'a> = dyn FnMut(Drawn) -> Result<(), AppError> + 'a;

/// Runs a command that draws, until its end or Ctrl-C.
pub(crate) fn run(verb: &dyn Verb) -> Result<(), AppError> {
    let args = verb.args();
    in_threads(args, |interrupted| {
        let output = Output::new(args.output.as_deref(), verb.prompt())?.with_quality(args.quality);
        let mut contact = args.grid.then(|| ContactSheet::new(args.batch_count)).transpose()?;
        let mut sink = |drawn: Drawn| {
            let path = output.path(drawn.index, drawn.seed);
            crate::warn(output.write(&path, &drawn.image, &drawn.texts)?);
            tell(&path, &format!("seed {}", drawn.seed));
            if let Some(contact) = &mut contact {
                contact.add(drawn.image, drawn.texts, &path);
            }
            Ok(())
        };
        Studio::new(interrupted).draw(verb, &mut sink)?;
        if let Some((path, sheet, texts)) = contact.and_then(ContactSheet::finish) {
            crate::warn(output.write(&path, &sheet, &texts)?);
            tell(&path, &format!("{} images", args.batch_count));
        }
        Ok(())
    })
}

/// Does the work of a command with as many threads as its flags say. What it is given tells of Ctrl-C.
pub(crate) fn in_threads(
    args: &DrawingArgs,
    work: impl FnOnce(&AtomicBool) -> Result<(), AppError> + Send,
) -> Result<(), AppError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || work(&interrupted)).map_err(AppError::RunTime)?
}

/// Tells of a file that was written.
pub(crate) fn tell(path: &Path, of: &str) {
    // A reader of the output that went away is no reason to stop drawing.
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{} ({of})\n", path.display()));
}
