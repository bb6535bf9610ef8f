//! What drawing takes, known before it begins.

use std::fmt;

/// Megapixels above which an image counts more than its pixels: attention grows with their square.
const LINEAR_MEGAPIXELS: f64 = 4.0;
/// Work above which a drawing is large: 50 steps of 4 megapixels, or 190 usual steps of SDXL's size.
const MAX_USUAL_WORK: f64 = 200.0;

/// What drawing the images of one or more jobs takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DrawingCost {
    /// Columns of the largest image.
    pub width: usize,
    /// Rows of the largest image.
    pub height: usize,
    /// The most steps of an image.
    pub steps: usize,
    /// Number of images.
    pub images: usize,
    /// Bytes of the stage that takes the most memory, estimated; `None` on a GPU, of which nothing is known.
    pub memory: Option<u64>,
    /// Evaluations of the network times megapixels, summed over the images. An image of more than 4 megapixels counts as
    /// many times more as it has more pixels than that.
    pub work: f64,
}

impl DrawingCost {
    /// A pass of so many steps over images of a size.
    pub(super) fn of_pass(
        (width, height): (usize, usize),
        steps: usize,
        evaluations: usize,
        images: usize,
    ) -> Self {
        let megapixels = (width as f64 * height as f64) / 1e6;
        let work =
            (steps * evaluations * images) as f64 * megapixels * (megapixels / LINEAR_MEGAPIXELS).max(1.0);
        DrawingCost { width, height, steps, images, memory: None, work }
    }

    /// This pass and a second one over the same images.
    pub(super) fn and_pass(self, second: DrawingCost) -> Self {
        DrawingCost { images: self.images, steps: self.steps + second.steps, ..self.and(second) }
    }

    /// Both drawings.
    #[must_use]
    pub fn and(self, other: DrawingCost) -> DrawingCost {
        let pixels = |cost: &DrawingCost| cost.width * cost.height;
        let larger = if pixels(&other) > pixels(&self) { other } else { self };
        DrawingCost {
            width: larger.width,
            height: larger.height,
            steps: self.steps.max(other.steps),
            images: self.images + other.images,
            memory: self.memory.max(other.memory),
            work: self.work + other.work,
        }
    }

    /// Whether it is more than an image of any usual size and number of steps takes.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.work > MAX_USUAL_WORK
    }
}

/// As in "8192x8192 in 1000 steps, about 400 GB of memory".
impl fmt::Display for DrawingCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DrawingCost { width, height, steps, images, memory, .. } = self;
        if *images > 1 {
            write!(f, "{images} images of up to ")?;
        }
        write!(f, "{width}x{height} in {steps} steps")?;
        match memory {
            Some(bytes) => write!(f, ", about {:.1} GB of memory", *bytes as f64 / 1e9),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_images_are_not_large() {
        let one = |side: usize, steps: usize| DrawingCost::of_pass((side, side), steps, 1, 1);
        for usual in [one(512, 150), one(1024, 100), one(1536, 50), one(2000, 50)] {
            assert!(!usual.is_large(), "{usual}");
        }
        let hires = one(1024, 30).and_pass(one(2048, 20));
        assert!(!hires.is_large() && hires.steps == 50 && hires.images == 1, "{hires}");
        for large in [one(8192, 1), one(8192, 1000), one(1024, 1000), one(2048, 50)] {
            assert!(large.is_large(), "{large}");
        }
        let grid = (0..40).fold(DrawingCost::default(), |sum, _| sum.and(one(1024, 20)));
        assert!(grid.is_large() && grid.images == 40, "{grid}");
        assert_eq!(grid.to_string(), "40 images of up to 1024x1024 in 20 steps");
    }
}
