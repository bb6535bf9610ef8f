//! What only SDXL is told, and its refiner.

use latent_diffusion::SizeConditioning;
use std::path::PathBuf;

/// Sizes that steer SDXL, and the model that finishes its images.
#[derive(clap::Args)]
#[command(next_help_heading = "SDXL")]
pub(crate) struct SdxlArgs {
    /// Size that the image is to look scaled from; small ones look blurred [default: the drawn size]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) original_size: Option<[usize; 2]>,
    /// Where the image is to look cropped, from the left and from the top
    #[arg(long, value_name = "X,Y", default_value = "0,0", value_parser = parse_point)]
    pub(crate) crop: [usize; 2],
    /// Size that the image is to be composed for [default: the drawn size]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) target_size: Option<[usize; 2]>,
    /// Model that finishes the images, such as SDXL's refiner: a file, a folder or a name, as --model takes
    #[arg(long, value_name = "FILE")]
    pub(crate) refiner: Option<PathBuf>,
    /// Part of the way, 0 to 1, after which the refiner takes over
    #[arg(long, value_name = "PART", default_value_t = 0.8, requires = "refiner")]
    pub(crate) refiner_start: f64,
}

impl SdxlArgs {
    /// The sizes, heights first.
    pub(crate) fn sizes(&self) -> SizeConditioning {
        SizeConditioning { original: self.original_size, crop: self.crop, target: self.target_size }
    }
}

/// `1024x768` as height and width.
fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let sides = pair(text, 'x').filter(|sides| sides.iter().all(|side| *side > 0));
    sides.ok_or_else(|| "give width and height in pixels, such as 1024x768".to_owned())
}

/// `16,32` as offsets from the top and from the left.
fn parse_point(text: &str) -> Result<[usize; 2], String> {
    pair(text, ',').ok_or_else(|| "give the pixels from the left and from the top, such as 0,128".to_owned())
}

/// The second of two numbers, and the first.
fn pair(text: &str, between: char) -> Option<[usize; 2]> {
    let (first, second) = text.split_once(between)?;
    let number = |text: &str| text.trim().parse().ok().filter(|n| *n <= 1 << 20);
    Some([number(second)?, number(first)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_come_before_widths() {
        assert_eq!(parse_size("1024x768"), Ok([768, 1024]));
        assert_eq!(parse_point("16,32"), Ok([32, 16]));
        for bad in ["", "1024", "0x5", "5x", "-1x5", "5x9999999999"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert!(parse_point("1x2").is_err() && parse_point("-1,2").is_err());
    }
}
