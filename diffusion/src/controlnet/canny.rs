//! Canny's edges (A Computational Approach to Edge Detection, 1986): thin lines where an image's brightness changes most.
//!
//! 1. Brightness (Rec. 601), smoothed by a Gaussian.
//! 2. Its gradient, by the 3x3 kernels of Sobel; its length and direction.
//! 3. A pixel whose gradient is not the longest among its neighbours along the gradient is not an edge (non-maximum
//!    suppression): lines become one pixel thin.
//! 4. Pixels above the high threshold are edges, and so are pixels above the low one that are connected to an edge
//!    (hysteresis).

use crate::{Error, Image};

/// How edges are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canny {
    /// Length of a gradient that continues an edge. Between black and white at a sharp vertical line it is about 800.
    pub low: f64,
    /// Length of a gradient that starts an edge.
    pub high: f64,
    /// Standard deviation of the Gaussian in pixels; 0 does not smooth.
    pub blur: f64,
}

/// The usual thresholds for ControlNets that were trained with such edges.
impl Default for Canny {
    fn default() -> Canny {
        Canny { low: 100.0, high: 200.0, blur: 1.0 }
    }
}

/// Maximum standard deviation of the Gaussian.
const MAX_BLUR: f64 = 20.0;
/// Tangent of 22.5 degrees: gradients are along a row, a column or a diagonal, whichever is nearest.
const TANGENT: f32 = 0.414_213_57;

impl Canny {
    /// # Errors
    /// [`Error::Setting`]: thresholds that are negative or in the wrong order, a blur out of range.
    fn check(&self) -> Result<(), Error> {
        let Canny { low, high, blur } = *self;
        if !(0.0 <= low && low <= high && high.is_finite()) {
            let reason =
                format!("{low} and {high} must be a low and a high threshold; 100 and 200 are usual");
            return Err(Error::setting(crate::Setting::Canny, reason));
        }
        if !(0.0..=MAX_BLUR).contains(&blur) {
            let reason = format!("a blur of {blur} pixels must be 0 to {MAX_BLUR}; 1 is usual");
            return Err(Error::setting(crate::Setting::Canny, reason));
        }
        Ok(())
    }
}

/// The edges of an image, white on black.
///
/// # Errors
/// [`Error::Setting`]: thresholds or a blur that make no sense.
///
/// ```
/// use latent_diffusion::{Image, controlnet::{Canny, canny}};
/// // The right half is white.
/// let rgb = (0..64).flat_map(|i| [if i % 8 < 4 { 0 } else { 255 }; 3]).collect();
/// let edges = canny(&Image { width: 8, height: 8, rgb }, &Canny::default())?;
/// assert_eq!(edges.rgb.iter().filter(|value| **value == 255).count(), 3 * 8);
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
pub fn canny(image: &Image, settings: &Canny) -> Result<Image, Error> {
    settings.check()?;
    let plane = Plane::of(image).smoothed(settings.blur);
    let strength = plane.thin_gradient();
    let edges = strength.joined(settings.low as f32, settings.high as f32);
    let rgb = edges.iter().flat_map(|is_edge| [if *is_edge { 255 } else { 0 }; 3]).collect();
    Ok(Image { width: image.width, height: image.height, rgb })
}

/// One value a pixel.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    fn of(image: &Image) -> Plane {
        let brightness =
            |rgb: &[u8]| 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
        let values = image.rgb.chunks_exact(3).map(brightness).collect();
        Plane { width: image.width, height: image.height, values }
    }

    /// The value at a place; outside the image its nearest.
    fn at(&self, x: isize, y: isize) -> f32 {
        let inside = |at: isize, side: usize| at.clamp(0, side as isize - 1) as usize;
        self.values[inside(y, self.height) * self.width + inside(x, self.width)]
    }

    /// A plane of the same size.
    fn map(&self, value: impl Fn(isize, isize) -> f32) -> Plane {
        let rows = 0..self.height as isize;
        let values = rows.flat_map(|y| (0..self.width as isize).map(move |x| (x, y)));
        Plane { values: values.map(|(x, y)| value(x, y)).collect(), ..*self }
    }

    /// Smoothed by a Gaussian, first along rows, then along columns.
    fn smoothed(self, deviation: f64) -> Plane {
        if deviation == 0.0 {
            return self;
        }
        // Weights beyond three deviations are negligible.
        let reach = (3.0 * deviation).ceil() as isize;
        let bell = |i: isize| (-0.5 * (i as f64 / deviation).powi(2)).exp();
        let sum: f64 = (-reach..=reach).map(bell).sum();
        let kernel: Vec<(isize, f32)> = (-reach..=reach).map(|i| (i, (bell(i) / sum) as f32)).collect();
        let rows = self.map(|x, y| kernel.iter().map(|(i, k)| k * self.at(x + i, y)).sum());
        rows.map(|x, y| kernel.iter().map(|(i, k)| k * rows.at(x, y + i)).sum())
    }

    /// Lengths of gradients, 0 where a neighbour along the gradient has a longer one.
    fn thin_gradient(&self) -> Plane {
        let side = |x: isize, y: isize, along: bool| {
            let tap = |i, j| if along { self.at(x + i, y + j) } else { self.at(x + j, y + i) };
            (tap(1, -1) + 2.0 * tap(1, 0) + tap(1, 1)) - (tap(-1, -1) + 2.0 * tap(-1, 0) + tap(-1, 1))
        };
        let across = self.map(|x, y| side(x, y, true));
        let down = self.map(|x, y| side(x, y, false));
        // Rounded, so that lengths that differ only by the order of summation are equal.
        let length = self.map(|x, y| (across.at(x, y).hypot(down.at(x, y)) * 64.0).round() / 64.0);
        length.map(|x, y| {
            let (gx, gy, own) = (across.at(x, y), down.at(x, y), length.at(x, y));
            let (i, j) = if gy.abs() <= TANGENT * gx.abs() {
                (1, 0)
            } else if gx.abs() <= TANGENT * gy.abs() {
                (0, 1)
            } else if (gx > 0.0) == (gy > 0.0) {
                (1, 1)
            } else {
                (1, -1)
            };
            // Of two that are equal, one is kept.
            let is_longest = own > length.at(x - i, y - j) || self.is_at_edge(x - i, y - j);
            if is_longest && (own >= length.at(x + i, y + j)) { own } else { 0.0 }
        })
    }

    fn is_at_edge(&self, x: isize, y: isize) -> bool {
        x < 0 || y < 0 || x >= self.width as isize || y >= self.height as isize
    }

    /// Where values are over `high`, and where they are over `low` and joined to such a place by others.
    fn joined(&self, low: f32, high: f32) -> Vec<bool> {
        let mut edges: Vec<bool> = self.values.iter().map(|value| *value > high).collect();
        let mut ends: Vec<usize> = (0..edges.len()).filter(|i| edges[*i]).collect();
        while let Some(end) = ends.pop() {
            let (x, y) = (end % self.width, end / self.width);
            for y in y.saturating_sub(1)..(y + 2).min(self.height) {
                for x in x.saturating_sub(1)..(x + 2).min(self.width) {
                    let i = y * self.width + x;
                    if !edges[i] && self.values[i] > low {
                        edges[i] = true;
                        ends.push(i);
                    }
                }
            }
        }
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: usize, height: usize, grey: impl Fn(usize, usize) -> u8) -> Image {
        let rgb = (0..width * height).flat_map(|i| [grey(i % width, i / width); 3]).collect();
        Image { width, height, rgb }
    }

    fn edges(image: &Image, settings: &Canny) -> Vec<(usize, usize)> {
        let edges = canny(image, settings).unwrap();
        assert_eq!((edges.width, edges.height), (image.width, image.height));
        let white = (0..image.width * image.height).filter(|i| edges.rgb[3 * i] == 255);
        white.map(|i| (i % image.width, i / image.width)).collect()
    }

    #[test]
    fn a_step_is_one_thin_line_whichever_way_it_runs() {
        let usual = Canny::default();
        let columns = edges(&drawn(16, 16, |x, _| if x < 8 { 0 } else { 255 }), &usual);
        assert_eq!(columns, (0..16).map(|y| (7, y)).collect::<Vec<_>>());
        let rows = edges(&drawn(16, 16, |_, y| if y < 8 { 255 } else { 0 }), &usual);
        assert_eq!(rows, (0..16).map(|x| (x, 7)).collect::<Vec<_>>());
        for falls in [true, false] {
            let slope = |x: usize, y: usize| if falls { x + y < 16 } else { x + 16 < 2 * 16 - y };
            let line = edges(&drawn(16, 16, |x, y| if slope(x, y) { 0 } else { 255 }), &usual);
            // Across a diagonal every second line of pixels is compared.
            assert!((14..=2 * 16).contains(&line.len()), "{line:?}");
        }
    }

    #[test]
    fn weak_edges_count_where_they_join_strong_ones() {
        // A step that fades from top to bottom, and one as weak as its end, apart from it.
        let fading = drawn(32, 32, |x, y| if x < 8 { 0 } else { (248 - 6 * y).min(255) as u8 });
        let weak = drawn(32, 32, |x, _| if x < 8 { 0 } else { 62 });
        let strict = Canny { low: 400.0, high: 400.0, blur: 1.0 };
        let loose = Canny { low: 150.0, ..strict };
        let height =
            |settings: &Canny| edges(&fading, settings).iter().filter(|(x, _)| [7, 8].contains(x)).count();
        assert!(height(&strict) < 26 && height(&loose) == 32, "{} {}", height(&strict), height(&loose));
        assert_eq!(edges(&weak, &loose), []);
        assert_eq!(edges(&weak, &Canny { low: 100.0, high: 150.0, blur: 1.0 }).len(), 32);
    }

    #[test]
    fn flat_images_have_no_edges_and_tiny_ones_do_not_panic() {
        for (width, height) in [(1, 1), (1, 9), (9, 1), (2, 2), (0, 0)] {
            assert_eq!(edges(&drawn(width, height, |_, _| 90), &Canny::default()), []);
        }
        assert_eq!(edges(&drawn(40, 30, |_, _| 255), &Canny { blur: 0.0, ..Canny::default() }), []);
    }

    #[test]
    fn settings_are_checked() {
        let usual = Canny::default();
        for bad in [
            Canny { low: 300.0, ..usual },
            Canny { low: -1.0, ..usual },
            Canny { high: f64::NAN, ..usual },
            Canny { high: f64::INFINITY, ..usual },
            Canny { blur: 21.0, ..usual },
            Canny { blur: f64::NAN, ..usual },
        ] {
            assert!(canny(&drawn(4, 4, |_, _| 0), &bad).unwrap_err().is_bad_input(), "{bad:?}");
        }
    }
}
