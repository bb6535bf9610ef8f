//! Draws one image from a prompt with a checkpoint, and writes it as a PPM file.
//!
//! ```sh
//! cargo run --release -p latent-diffusion --example text_to_image -- assets/demo.safetensors "a red apple" apple.ppm
//! ```

use latent_diffusion::loader::Checkpoint;
use latent_diffusion::{Pipeline, Settings};
use std::error::Error;
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt, output] = &arguments[..] else {
        return Err("usage: text_to_image MODEL PROMPT OUTPUT.ppm".into());
    };
    let mut pipeline = Pipeline::open(Checkpoint::open(model.as_ref())?)?;
    // Steps, guidance scale and sampler that this model was made for.
    let settings = Settings::of(pipeline.model()).with_seeds(vec![42]);
    let images = pipeline.text_to_image(prompt, "", &settings, &mut |_| ControlFlow::Continue(()))?;
    let image = &images[0];
    let header = format!("P6 {} {} 255\n", image.width, image.height);
    std::fs::write(output, [header.as_bytes(), &image.rgb].concat())?;
    println!("{output}: {}x{}", image.width, image.height);
    Ok(())
}
