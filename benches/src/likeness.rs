//! How near images are to each other.

/// Peak signal-to-noise ratio of two 8-bit images in dB, where 255 is the signal (PSNR); infinite if they are the same.
///
/// ```
/// assert_eq!(latent_benches::likeness::psnr(&[0, 10], &[0, 10]), f64::INFINITY);
/// assert!((latent_benches::likeness::psnr(&[0, 255], &[255, 255]) - 3.01).abs() < 0.01);
/// ```
///
/// # Panics
/// If they have different lengths.
#[must_use]
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len(), "images of one size");
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255f64.powi(2) * a.len() as f64 / squares).log10()
}
