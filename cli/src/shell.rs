//! `latent completions` and `latent man`: completions and manual pages, generated from the definition of the command line.

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::console::print;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use latent_app::AppError;
use latent_app::atomic_output::AtomicFile;
use std::io::Write;
use std::path::Path;

/// Writes a shell's completions to standard output.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), AppError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "latent", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes the page of the program to standard output, or all pages into a folder.
pub(crate) fn man(args: &ManArgs) -> Result<(), AppError> {
    let mut program = Args::command();
    // Gives the commands the names of their pages: latent-txt2img.
    program.build();
    let Some(folder) = &args.output else {
        return print(&String::from_utf8_lossy(&page(program)?));
    };
    if !folder.is_dir() {
        let line = format!("{}: the folder does not exist; make it first", folder.display());
        return Err(AppError::BadInput(line));
    }
    // `latent help` says what the pages say.
    let has_page = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let commands: Vec<Command> = program.get_subcommands().filter(has_page).cloned().collect();
    for command in std::iter::once(program).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        write(&folder.join(format!("{name}.1")), &page(command)?)?;
    }
    Ok(())
}

fn page(command: Command) -> Result<Vec<u8>, AppError> {
    let mut page = Vec::new();
    let rendered = Man::new(command).render(&mut page);
    rendered.map_err(|error| AppError::RunTime(format!("man page: {error}")))?;
    Ok(page)
}

fn write(path: &Path, page: &[u8]) -> Result<(), AppError> {
    let file = AtomicFile::new(path)?;
    file.prepare()?;
    file.write(|file| file.write_all(page))
}
