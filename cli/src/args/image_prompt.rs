//! Flags of image prompts.

use std::path::PathBuf;

/// Images as prompts. What is given once counts for all of them, what is given more often for one after the other.
#[derive(clap::Args)]
#[command(next_help_heading = "Image prompt")]
pub(crate) struct ImagePromptArgs {
    /// An IP-Adapter, which makes an image a prompt; may be repeated
    #[arg(long, value_name = "FILE", requires = "ip_adapter_image", requires = "image_encoder")]
    ip_adapter: Vec<PathBuf>,
    /// The image, of any usual format; the middle of it is seen
    #[arg(long, value_name = "FILE", requires = "ip_adapter")]
    ip_adapter_image: Vec<PathBuf>,
    /// The CLIP vision encoder that the adapter was trained with
    #[arg(long, visible_alias = "clip-vision", value_name = "FILE", requires = "ip_adapter")]
    image_encoder: Vec<PathBuf>,
    /// How strongly the image acts; 0.5 to 0.8 leaves room for the prompt [default: 1]
    #[arg(
        long,
        alias = "ip-adapter-scale",
        value_name = "FACTOR",
        requires = "ip_adapter",
        allow_negative_numbers = true
    )]
    ip_adapter_strength: Vec<f64>,
    /// Part of the steps, 0 to 1, after which it begins [default: 0]
    #[arg(long, value_name = "PART", requires = "ip_adapter", allow_negative_numbers = true)]
    ip_adapter_start: Vec<f64>,
    /// Part of the steps, 0 to 1, after which it ends [default: 1]
    #[arg(long, value_name = "PART", requires = "ip_adapter", allow_negative_numbers = true)]
    ip_adapter_end: Vec<f64>,
}
