//! Flags of the commands for metadata and for the shell.

use clap_complete::Shell;
use std::path::PathBuf;

/// `latent metadata`
#[derive(clap::Args)]
#[command(
    after_help = "Files of this program, the webui, Forge, SD.Next, ComfyUI, InvokeAI, NovelAI, Fooocus, Draw Things, \
                  Easy Diffusion and SwarmUI are understood."
)]
pub(crate) struct MetadataArgs {
    /// A PNG, JPEG or WebP file
    pub(crate) file: PathBuf,
    /// Print JSON, with all that the file records
    #[arg(long)]
    pub(crate) json: bool,
}

/// `latent completions`
#[derive(clap::Args)]
#[command(
    after_help = "For bash: latent completions bash > ~/.local/share/bash-completion/completions/latent"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// `latent man`
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, one for each command [default: the program's page to standard output]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
