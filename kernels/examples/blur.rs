//! One kernel alone: blurs a greyscale image with a 3x3 convolution, on every instruction set of this CPU.
//!
//! ```sh
//! cargo run --release -p latent-kernels --no-default-features --example blur
//! ```

use latent_kernels::conv2d::{Algorithm, ConvWeight, Convolution, Padding, conv2d_fused_with};
use latent_kernels::{DType, Isa, WeightBytes};

const SIDE: usize = 24;

fn main() {
    // The weight as a file has it: [out, in, kernel, kernel] values of f32, little-endian.
    let bytes: Vec<u8> = [1.0f32 / 9.0; 9].iter().flat_map(|value| value.to_le_bytes()).collect();
    let filter = ConvWeight::new(WeightBytes::new(DType::F32, &bytes), 1, 1, 3, 1, Padding::all(1));

    // A bright square on black, [batch, height, width, channels].
    let inside = |at: usize| (8..16).contains(&(at / SIDE)) && (8..16).contains(&(at % SIDE));
    let image: Vec<f32> = (0..SIDE * SIDE).map(|at| if inside(at) { 1.0 } else { 0.0 }).collect();

    let convolution = Convolution::plain(&image, [1, SIDE, SIDE]);
    let mut out = vec![0.0; SIDE * SIDE];
    for isa in Isa::available() {
        conv2d_fused_with(isa, Algorithm::ImplicitGemm, &convolution, &filter, &mut out);
        println!("{}: the sum is {}", isa.name(), out.iter().sum::<f32>());
    }
    for row in out.chunks_exact(SIDE) {
        let shades: String =
            row.iter().map(|value| [' ', '.', ':', '+', '#'][(value * 4.0) as usize]).collect();
        println!("{shades}");
    }
}
