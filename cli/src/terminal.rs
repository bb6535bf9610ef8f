//! Images in a terminal: by kitty's protocol, iTerm's or sixels, or as coloured half blocks.

use crate::console::print;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latent_app::AppError;
use latent_app::image_file::resized;
use latent_app::output;
use latent_diffusion::Image;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal;

/// Height of an image in lines of text.
const ROWS: usize = 16;
/// Height of a line of text in pixels: what terminals with sixels usually have.
const LINE_PIXELS: usize = 18;
/// Maximum size of a chunk of kitty's protocol in bytes.
const MAX_CHUNK: usize = 4096;
/// Levels of red, green and blue among a sixel's 252 colours.
const LEVELS: [usize; 3] = [6, 7, 6];

/// How a terminal shows images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>
    Kitty,
    /// <https://iterm2.com/documentation-images.html>
    Iterm,
    /// DEC's graphics of 1987: VT330/VT340 Programmer Reference Manual, volume 2, chapter 14.
    Sixel,
    /// The upper half of a character's cell in one colour, the lower in another.
    Blocks,
}

/// A terminal that shows one image after the other in the same place.
#[derive(Debug)]
pub(crate) struct Terminal {
    protocol: Protocol,
    shown: Cell<bool>,
}

impl Terminal {
    /// The terminal of the standard output. The variable `LATENT_TERMINAL` names a protocol, in place of the detected one.
    pub(crate) fn open() -> Result<Terminal, AppError> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let protocol = match variable("LATENT_TERMINAL").as_str() {
            "" if !std::io::stdout().is_terminal() => {
                let line = "preview: the standard output is not a terminal; name a PNG file";
                return Err(AppError::BadInput(line.into()));
            }
            "" => guess(variable),
            "kitty" => Protocol::Kitty,
            "iterm" => Protocol::Iterm,
            "sixel" => Protocol::Sixel,
            "blocks" => Protocol::Blocks,
            other => {
                let line = format!("LATENT_TERMINAL: {other:?} is not kitty, iterm, sixel or blocks");
                return Err(AppError::BadInput(line));
            }
        };
        Ok(Terminal { protocol, shown: Cell::new(false) })
    }

    /// Shows an image in place of the last one.
    pub(crate) fn show(&self, image: &Image) -> Result<(), AppError> {
        let mut text = String::new();
        if self.shown.replace(true) {
            let _ = write!(text, "\x1b[{ROWS}A");
        } else {
            // Scrolls if the cursor is at the bottom.
            text += &"\n".repeat(ROWS);
            let _ = write!(text, "\x1b[{ROWS}A");
        }
        // The cursor returns from wherever the image leaves it.
        let _ = write!(text, "\x1b7{}\x1b8\x1b[{ROWS}B", encode(self.protocol, image)?);
        print(&text)
    }
}

/// How the terminal of the standard output shows images, by its variables.
pub(crate) fn detected() -> &'static str {
    match guess(|name| std::env::var(name).unwrap_or_default()) {
        Protocol::Kitty => "kitty's graphics",
        Protocol::Iterm => "iTerm's inline images",
        Protocol::Sixel => "sixels",
        Protocol::Blocks => "coloured blocks",
    }
}

/// The protocol that the terminal's variables point to.
fn guess(variable: impl Fn(&str) -> String) -> Protocol {
    let (term, program) = (variable("TERM"), variable("TERM_PROGRAM"));
    let is = |names: &[&str], text: &str| names.iter().any(|name| text.contains(name));
    if is(&["kitty", "ghostty"], &term) || program == "ghostty" || !variable("KITTY_WINDOW_ID").is_empty() {
        Protocol::Kitty
    } else if is(&["iTerm", "WezTerm", "mintty", "rio"], &program) {
        Protocol::Iterm
    } else if is(&["sixel", "foot", "mlterm", "contour", "yaft"], &term) {
        Protocol::Sixel
    } else {
        Protocol::Blocks
    }
}

/// An image as the text that is sent to a terminal.
fn encode(protocol: Protocol, image: &Image) -> Result<String, AppError> {
    let of_height = |height: usize| {
        let width = (image.width * height).div_ceil(image.height).max(1);
        resized(image, width, height)
    };
    Ok(match protocol {
        Protocol::Kitty => kitty(&STANDARD.encode(output::png(image)?)),
        Protocol::Iterm => {
            let png = STANDARD.encode(output::png(image)?);
            format!("\x1b]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{png}\x07")
        }
        Protocol::Sixel => sixel(&of_height(ROWS * LINE_PIXELS)),
        Protocol::Blocks => blocks(&of_height(ROWS * 2)),
    })
}

fn kitty(png: &str) -> String {
    let mut text = String::new();
    let mut start = format!("f=100,a=T,C=1,q=2,r={ROWS},");
    let mut rest = png;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(MAX_CHUNK));
        let more = u8::from(!after.is_empty());
        let _ = write!(text, "\x1b_G{start}m={more};{piece}\x1b\\");
        (start, rest) = (String::new(), after);
    }
    text
}

/// Bands of six rows; in each, one colour after the other.
fn sixel(image: &Image) -> String {
    let Image { width, height, rgb } = image;
    let nearest = |value: u8, levels: usize| (usize::from(value) * (levels - 1) + 127) / 255;
    let colour = |x: usize, y: usize| {
        let pixel = &rgb[(y * width + x) * 3..];
        (0..3).fold(0, |colour, c| colour * LEVELS[c] + nearest(pixel[c], LEVELS[c]))
    };
    let mut text = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    for colour in 0..LEVELS.iter().product() {
        let percent = |level: usize, levels: usize| level * 100 / (levels - 1);
        let (red, rest) = (colour / (LEVELS[1] * LEVELS[2]), colour % (LEVELS[1] * LEVELS[2]));
        let [r, g, b] =
            [(red, 0), (rest / LEVELS[2], 1), (rest % LEVELS[2], 2)].map(|(l, c)| percent(l, LEVELS[c]));
        let _ = write!(text, "#{colour};2;{r};{g};{b}");
    }
    for top in (0..*height).step_by(6) {
        let rows = top..(top + 6).min(*height);
        let band: Vec<Vec<usize>> = rows.map(|y| (0..*width).map(|x| colour(x, y)).collect()).collect();
        let mut colours: Vec<usize> = band.iter().flatten().copied().collect();
        colours.sort_unstable();
        colours.dedup();
        for colour in colours {
            let _ = write!(text, "#{colour}");
            let bits = |x: usize| {
                (0..band.len()).fold(0, |bits, row| bits | u8::from(band[row][x] == colour) << row)
            };
            let mut x = 0;
            while x < *width {
                let run = (x..*width).take_while(|other| bits(*other) == bits(x)).count();
                let _ = write!(text, "!{run}{}", char::from(b'?' + bits(x)));
                x += run;
            }
            text.push('$');
        }
        text.push('-');
    }
    text + "\x1b\\"
}

fn blocks(image: &Image) -> String {
    let mut text = String::new();
    for rows in image.rgb.chunks_exact(image.width * 6) {
        let (upper, lower) = rows.split_at(image.width * 3);
        for (upper, lower) in upper.chunks_exact(3).zip(lower.chunks_exact(3)) {
            let [r, g, b] = [upper[0], upper[1], upper[2]];
            let _ =
                write!(text, "\x1b[38;2;{r};{g};{b};48;2;{};{};{}m\u{2580}", lower[0], lower[1], lower[2]);
        }
        text += "\x1b[0m\r\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with a red upper and a blue lower half.
    fn flag() -> Image {
        let (red, blue) = ([255, 0, 0].repeat(24 * 12), [0, 0, 255].repeat(24 * 12));
        Image { width: 24, height: 24, rgb: [red, blue].concat() }
    }

    fn decoded(png: &str) -> Vec<u8> {
        image::load_from_memory(&STANDARD.decode(png).unwrap()).unwrap().into_rgb8().into_raw()
    }

    #[test]
    fn kitty_and_iterm_are_sent_the_file() {
        let text = encode(Protocol::Kitty, &flag()).unwrap();
        let pieces = text.split("\x1b\\").filter_map(|piece| piece.split_once(';'));
        let png: String = pieces.map(|(_, piece)| piece).collect();
        assert_eq!(decoded(&png), flag().rgb);
        let long = kitty(&"a".repeat(2 * MAX_CHUNK + 1));
        assert_eq!(long.matches("m=1;").count(), 2);
        assert!(long.ends_with("\x1b_Gm=0;a\x1b\\"));
        let text = encode(Protocol::Iterm, &flag()).unwrap();
        let png =
            text.strip_prefix("\x1b]1337;").unwrap().split_once(':').unwrap().1.trim_end_matches('\x07');
        assert_eq!(decoded(png), flag().rgb);
    }

    #[test]
    fn blocks_have_two_pixels() {
        let text = encode(Protocol::Blocks, &flag()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), ROWS);
        assert!(lines.iter().all(|line| line.matches('\u{2580}').count() == 2 * ROWS));
        assert!(lines[0].starts_with("\x1b[38;2;255;0;0;48;2;255;0;0m"), "{:?}", lines[0]);
        assert!(lines[ROWS - 1].starts_with("\x1b[38;2;0;0;255;48;2;0;0;255m"), "{:?}", lines[ROWS - 1]);
    }

    #[test]
    fn sixels_cover_the_image() {
        let text = sixel(&flag());
        assert!(text.starts_with("\x1bP0;1;0q\"1;1;24;24#0;2;0;0;0#1;2;0;0;20"));
        let body = text.rsplit_once("#251;2;100;100;100").unwrap().1.strip_suffix("\x1b\\").unwrap();
        // The first of the reds is 5 * 42, the last of the blues is 5; all six rows of a band are set.
        let (red, blue) = ("#210!24~$-", "#5!24~$-");
        assert_eq!(body, [red, red, blue, blue].concat());
        let stripes = Image { width: 4, height: 2, rgb: [[0, 0, 0], [255; 3]].concat().repeat(4) };
        assert!(sixel(&stripes).ends_with("#0!1B!1?!1B!1?$#251!1?!1B!1?!1B$-\x1b\\"));
    }

    #[test]
    fn terminals_are_detected_by_their_variables() {
        let of = |name: &'static str, value: &'static str| {
            guess(move |asked| if asked == name { value.to_owned() } else { String::new() })
        };
        assert_eq!(of("TERM", "xterm-kitty"), Protocol::Kitty);
        assert_eq!(of("KITTY_WINDOW_ID", "1"), Protocol::Kitty);
        assert_eq!(of("TERM_PROGRAM", "iTerm.app"), Protocol::Iterm);
        assert_eq!(of("TERM", "foot"), Protocol::Sixel);
        assert_eq!(of("TERM", "xterm-256color"), Protocol::Blocks);
    }
}
