//! Flags of `latent tokens`.

use super::parts::PromptFileArgs;
use std::path::PathBuf;

/// `latent tokens`
#[derive(clap::Args)]
pub(crate) struct TokensArgs {
    /// Prompt to take apart
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// The prompt, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    /// Model whose text encoders are shown, and for whose textual inversions the prompt is read
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Sampling steps, for what changes from step to step
    #[arg(long, default_value_t = 20)]
    pub(crate) steps: usize,
    /// Seed by which wildcards are drawn
    #[arg(short, long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) words: PromptFileArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
