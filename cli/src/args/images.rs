//! Flags of the commands that draw from an image.

use super::drawing::DrawingArgs;
use latent_app::AppError;
use latent_app::image_file::Resize;
use latent_diffusion::Fill;
use std::path::PathBuf;

/// How an image's size becomes the drawn one.
#[derive(clap::Args)]
pub(crate) struct SizeArgs {
    /// What to do with an image of another shape than the size that is drawn
    #[arg(long, value_name = "stretch|crop|fit", default_value = "crop", value_parser = parse_resize)]
    resize: Resize,
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
    image: PathBuf,
    /// What to draw
    #[arg(value_name = "PROMPT", required_unless_present_any = ["prompt_flag", "prompt_file"])]
    pub(super) prompt: Option<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(super) prompt_flag: Option<String>,
    /// How much may change: near 0 little, 1 nearly all
    #[arg(long, value_name = "PART", default_value_t = 0.75, allow_negative_numbers = true)]
    strength: f64,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

/// `latent edit`
#[derive(clap::Args)]
#[command(
    after_help = "The model must be one of InstructPix2Pix, such as instruct-pix2pix-00-22000.safetensors, or Flux.1 Kontext."
)]
pub(crate) struct EditArgs {
    /// Image to change, of any usual format
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// What to change, as one says it: "make it winter"
    #[arg(value_name = "INSTRUCTION", required_unless_present_any = ["prompt_flag", "prompt_file"])]
    pub(super) prompt: Option<String>,
    /// What to change, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "INSTRUCTION", conflicts_with = "prompt")]
    pub(super) prompt_flag: Option<String>,
    /// How closely to keep to the image, with InstructPix2Pix
    #[arg(long, value_name = "SCALE", default_value_t = 1.5, allow_negative_numbers = true)]
    img_cfg_scale: f64,
    #[command(flatten)]
    size: SizeArgs,
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
    image: PathBuf,
    /// The mask's file, if there is one, and what to draw
    #[arg(value_names = ["MASK", "PROMPT"], num_args = 1..=2, required_unless_present_any = ["prompt_flag", "prompt_file"])]
    words: Vec<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT")]
    pub(super) prompt_flag: Option<String>,
    /// The mask's file, as a flag
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
    /// Draw what the mask keeps, and keep what it draws
    #[arg(long)]
    invert: bool,
    /// How much of the masked part may change; at 1 it is drawn from noise alone
    #[arg(long, value_name = "PART", default_value_t = 1.0, allow_negative_numbers = true)]
    strength: f64,
    /// Softness in pixels of the mask's edge, inside of it
    #[arg(long, value_name = "PIXELS", default_value_t = 4.0, allow_negative_numbers = true)]
    mask_blur: f64,
    /// What is in the masked part when the drawing begins, below strength 1 [default: original; nearest for a transparent part]
    #[arg(long, value_name = "NAME", value_parser = parse_fill)]
    fill: Option<Fill>,
    /// Draw only the surroundings of the mask, in the model's own size or -W and -H: better for small parts of large images
    #[arg(long)]
    only_masked: bool,
    /// Pixels around the mask that --only-masked shows to the model
    #[arg(long, value_name = "PIXELS", default_value_t = 32)]
    padding: usize,
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
    image: PathBuf,
    /// What the whole image shows
    #[arg(value_name = "PROMPT", required_unless_present_any = ["prompt_flag", "prompt_file"])]
    pub(super) prompt: Option<String>,
    /// What the whole image shows, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(super) prompt_flag: Option<String>,
    /// Pixels to add on the left
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    left: usize,
    /// Pixels to add on the right
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    right: usize,
    /// Pixels to add above
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    top: usize,
    /// Pixels to add below
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    bottom: usize,
    /// How much of the new part may differ from the image's last colours going on
    #[arg(long, value_name = "PART", default_value_t = 1.0, allow_negative_numbers = true)]
    strength: f64,
    /// Softness in pixels of the seam, outside of the image
    #[arg(long, value_name = "PIXELS", default_value_t = 4.0, allow_negative_numbers = true)]
    mask_blur: f64,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

impl Img2imgArgs {
    pub(super) fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }
}

impl EditArgs {
    pub(super) fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }
}

impl OutpaintArgs {
    pub(super) fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }
}

impl InpaintArgs {
    /// The mask's file by its place, and the prompt, which may stand in two places.
    pub(super) fn mask_and_prompt(&self) -> (Option<&str>, &str) {
        match (&self.words[..], &self.prompt_flag) {
            ([mask], Some(prompt)) => (Some(mask), prompt),
            ([prompt], None) => (None, prompt),
            ([mask, prompt], _) => (Some(mask), prompt),
            (_, prompt) => (None, prompt.as_deref().unwrap_or("")),
        }
    }

    /// Whether the words by their places hold a prompt behind a mask.
    pub(super) fn has_prompt_by_place(&self) -> bool {
        self.words.len() > 1
    }

    /// Refuses a mask or a prompt that is given in both places.
    pub(super) fn check_words(&self) -> Result<(), AppError> {
        let twice = |what: &str, flag: &str| {
            Err(AppError::BadInput(format!(
                "{what}: is given twice, by its place and by {flag}; leave one out"
            )))
        };
        match (&self.words[..], &self.prompt_flag, &self.mask) {
            ([_, _], Some(_), _) => twice("prompt", "--prompt"),
            ([_, _], _, Some(_)) | ([_], Some(_), Some(_)) => twice("mask", "--mask"),
            _ => Ok(()),
        }
    }
}

fn parse_resize(name: &str) -> Result<Resize, String> {
    Resize::parse(name).map_err(|error| error.to_string())
}

fn parse_fill(name: &str) -> Result<Fill, String> {
    Fill::parse(name).map_err(|error| error.to_string())
}
