//! Flags of the commands that draw from an image.

use super::DrawingArgs;
use latent_app::image_file::Resize;
use latent_diffusion::Fill;
use std::path::PathBuf;

/// How an image's size becomes the drawn one.
#[derive(clap::Args)]
pub(crate) struct SizeArgs {
    /// What to do with an image of another shape than the size that is drawn
    #[arg(long, value_name = "stretch|crop|fit", default_value = "crop", value_parser = parse_resize)]
    pub(crate) resize: Resize,
}

/// `latent img2img`
#[derive(clap::Args)]
#[command(
    after_help = "Without -W and -H an image is drawn in its own shape, with about as many pixels as the model's own \
                        size has. Transparent parts are white."
)]
pub(crate) struct Img2imgArgs {
    /// Image to redraw, of any usual format
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What to draw
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    /// How much may change: near 0 little, 1 nearly all
    #[arg(long, value_name = "PART", default_value_t = 0.75, allow_negative_numbers = true)]
    pub(crate) strength: f64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

/// `latent edit`
#[derive(clap::Args)]
#[command(
    after_help = "The model must be one of InstructPix2Pix, such as instruct-pix2pix-00-22000.safetensors."
)]
pub(crate) struct EditArgs {
    /// Image to change, of any usual format
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What to change, as one says it: "make it winter"
    #[arg(value_name = "INSTRUCTION", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// What to change, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "INSTRUCTION", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    /// How closely to keep to the image
    #[arg(long, value_name = "SCALE", default_value_t = 1.5, allow_negative_numbers = true)]
    pub(crate) img_cfg_scale: f64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

/// `latent inpaint`
#[derive(clap::Args)]
#[command(
    override_usage = "latent inpaint [OPTIONS] <IMAGE> [MASK] <PROMPT>",
    after_help = "White in the mask is drawn anew, black stays as it is, byte for byte. Without a mask, what is transparent \
                  in the image is drawn. Any model can; those for inpainting do it best."
)]
pub(crate) struct InpaintArgs {
    /// Image, of any usual format
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// The mask's file, if there is one, and what to draw
    #[arg(value_names = ["MASK", "PROMPT"], num_args = 1..=2, required_unless_present = "prompt_flag")]
    pub(crate) words: Vec<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT")]
    pub(crate) prompt_flag: Option<String>,
    /// The mask's file, as a flag
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,
    /// Draw what the mask keeps, and keep what it draws
    #[arg(long)]
    pub(crate) invert: bool,
    /// How much of the masked part may change; at 1 it is drawn from noise alone
    #[arg(long, value_name = "PART", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) strength: f64,
    /// Softness in pixels of the mask's edge, inside of it
    #[arg(long, value_name = "PIXELS", default_value_t = 4.0, allow_negative_numbers = true)]
    pub(crate) mask_blur: f64,
    /// What is in the masked part when the drawing begins, below strength 1 [default: original; nearest for a transparent part]
    #[arg(long, value_name = "NAME", value_parser = parse_fill)]
    pub(crate) fill: Option<Fill>,
    /// Draw only the surroundings of the mask, in the model's own size or -W and -H: better for small parts of large images
    #[arg(long)]
    pub(crate) only_masked: bool,
    /// Pixels around the mask that --only-masked shows to the model
    #[arg(long, value_name = "PIXELS", default_value_t = 32)]
    pub(crate) padding: usize,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

/// `latent outpaint`
#[derive(clap::Args)]
#[command(
    after_help = "The image itself stays as it is, byte for byte. Any model can; those for inpainting do it best."
)]
pub(crate) struct OutpaintArgs {
    /// Image to grow, of any usual format
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What the whole image shows
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// What the whole image shows, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    /// Pixels to add on the left
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub(crate) left: usize,
    /// Pixels to add on the right
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub(crate) right: usize,
    /// Pixels to add above
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub(crate) top: usize,
    /// Pixels to add below
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub(crate) bottom: usize,
    /// How much of the new part may differ from the image's last colours going on
    #[arg(long, value_name = "PART", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) strength: f64,
    /// Softness in pixels of the seam, outside of the image
    #[arg(long, value_name = "PIXELS", default_value_t = 4.0, allow_negative_numbers = true)]
    pub(crate) mask_blur: f64,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

fn parse_resize(name: &str) -> Result<Resize, String> {
    Resize::parse(name).map_err(|error| error.to_string())
}

fn parse_fill(name: &str) -> Result<Fill, String> {
    Fill::parse(name).map_err(|error| error.to_string())
}
