//! Flags of ControlNets, and of decoding and previews.

use std::path::{Path, PathBuf};

/// ControlNets. What is given once counts for all of them, what is given more often for one after the other.
#[derive(clap::Args)]
#[command(next_help_heading = "ControlNet")]
pub(crate) struct ControlArgs {
    /// A ControlNet, Control-LoRA, ControlNet-LLLite or T2I-Adapter, which steers the drawing by an image; may be repeated
    #[arg(long, value_name = "FILE", requires = "control_image")]
    control_net: Vec<PathBuf>,
    /// The image that it sees, of any usual format; brought to the drawn size
    #[arg(long, value_name = "FILE", requires = "control_net")]
    control_image: Vec<PathBuf>,
    /// What the image is, for a network that sees several kinds (union): openpose, depth, softedge, canny, normal, segment, tile
    /// or repaint [default: canny where edges are made of it]
    #[arg(long, value_name = "NAME", requires = "control_net")]
    control_type: Vec<String>,
    /// How strongly it steers [default: 1]
    #[arg(long, value_name = "FACTOR", requires = "control_net", allow_negative_numbers = true)]
    control_strength: Vec<f64>,
    /// Part of the steps, 0 to 1, after which it begins [default: 0]
    #[arg(long, value_name = "PART", requires = "control_net", allow_negative_numbers = true)]
    control_start: Vec<f64>,
    /// Part of the steps, 0 to 1, after which it ends [default: 1]
    #[arg(long, value_name = "PART", requires = "control_net", allow_negative_numbers = true)]
    control_end: Vec<f64>,
    /// What is made of the image before the network sees it [default: none]
    #[arg(long, value_name = "NAME", value_enum, requires = "control_net")]
    control_preprocess: Vec<PreprocessName>,
    /// Contrast of a line that goes on with an edge, for canny; a sharp edge between black and white has about 800
    #[arg(long, value_name = "CONTRAST", default_value_t = 100.0, allow_negative_numbers = true)]
    canny_low: f64,
    /// Contrast of a line that begins an edge, for canny
    #[arg(long, value_name = "CONTRAST", default_value_t = 200.0, allow_negative_numbers = true)]
    canny_high: f64,
}

/// What is made of an image before a ControlNet sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PreprocessName {
    /// Nothing: the image is such as the network was trained on
    None,
    /// Its edges, white on black
    Canny,
}

/// How images are decoded, and shown on the way.
#[derive(clap::Args)]
#[command(next_help_heading = "Previews")]
pub(crate) struct PreviewArgs {
    /// Decode with this tiny VAE (TAESD) in place of the model's: much faster, a little less exact
    #[arg(long, value_name = "FILE")]
    taesd: Option<PathBuf>,
    /// Decode with the TAESD for the model that is among the models, as --taesd does with its file
    #[arg(long, conflicts_with = "taesd")]
    fast_vae: bool,
    /// File that shows how an image is coming on, or "terminal", to show it there: as --taesd decodes it, or else in rough
    /// colours
    #[arg(long, value_name = "FILE|terminal")]
    pub(crate) preview: Option<PathBuf>,
    /// Steps from one preview to the next
    #[arg(long, value_name = "N", default_value_t = 1, requires = "preview",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) preview_interval: u32,
}

/// What `--preview` calls the terminal.
pub(crate) const TERMINAL: &str = "terminal";

impl PreviewArgs {
    /// Whether previews are shown in the terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.preview.as_ref().is_some_and(|path| path.as_os_str() == TERMINAL)
    }

    /// The file that previews go to.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.preview.as_deref().filter(|_| !self.is_terminal())
    }
}
