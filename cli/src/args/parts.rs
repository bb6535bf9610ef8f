//! Flags for what a model is made of, and for what is added to it.

use latent_app::addons::EmbeddingFiles;
use latent_app::model_file::PartFiles;
use std::path::PathBuf;

/// Files for the parts of a model. Each may be a file, a folder with a configuration, or a whole model that has the part.
#[derive(Debug, clap::Args)]
pub(crate) struct PartArgs {
    /// UNet or transformer to draw with, in place of the model's
    #[arg(long, value_name = "FILE", visible_aliases = ["transformer", "diffusion-model"])]
    unet: Option<PathBuf>,
    /// VAE to decode with, in place of the model's
    #[arg(long, value_name = "FILE")]
    vae: Option<PathBuf>,
    /// Text encoder, in place of the model's; where a model has several, repeat the flag, in any order: what each is, its
    /// contents say
    #[arg(long, value_name = "FILE", visible_aliases = ["clip-l", "clip-g", "t5", "llm"])]
    text_encoder: Vec<PathBuf>,
    /// Another model to take what is still lacking from
    #[arg(long, value_name = "MODEL")]
    parts_from: Option<PathBuf>,
}

impl PartArgs {
    /// The files.
    pub(crate) fn files(&self) -> PartFiles {
        let PartArgs { unet, vae, text_encoder, parts_from } = self;
        PartFiles::new(unet.clone(), vae.clone(), text_encoder.clone(), parts_from.clone())
    }
}

/// Textual inversions, and wildcards.
#[derive(Debug, clap::Args)]
pub(crate) struct PromptFileArgs {
    /// A textual inversion, which prompts call by the file's name without its ending; may be repeated
    #[arg(long, value_name = "FILE")]
    embedding: Vec<PathBuf>,
    /// Folder of textual inversions; those that a prompt names are opened
    #[arg(long, value_name = "DIR")]
    embd_dir: Option<PathBuf>,
    /// Folder of text files: __NAME__ in a prompt becomes a line of NAME.txt, {a|b} one of its parts, by the image's seed
    #[arg(long, value_name = "DIR")]
    pub(crate) wildcards: Option<PathBuf>,
}

impl PromptFileArgs {
    /// The textual inversions.
    pub(crate) fn embeddings(&self) -> EmbeddingFiles {
        EmbeddingFiles::new(self.embedding.clone(), self.embd_dir.clone())
    }
}
