//! Draws in a thread of its own: shows a preview of each step as text, and cancels the drawing from another thread after
//! some seconds.
//!
//! ```sh
//! cargo run --release -p latent-diffusion --example preview_and_cancel -- assets/demo.safetensors "a red apple" 10
//! ```

use latent_diffusion::loader::Checkpoint;
use latent_diffusion::{Image, Pipeline, Request};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt, seconds] = &arguments[..] else {
        return Err("usage: preview_and_cancel MODEL PROMPT SECONDS".into());
    };
    let limit = Duration::from_secs(seconds.parse()?);
    let pipeline = Pipeline::open(Checkpoint::open(model.as_ref())?)?;

    let mut drawing = Request::new(prompt.as_str()).seeds([42]).start(pipeline);
    let cancel = drawing.cancel_handle();
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        cancel.cancel();
    });
    for step in &mut drawing {
        println!("step {} of {}", step.step, step.total);
        print(&step.preview(0)?);
    }
    // The pipeline comes back, for the next drawing.
    let (_pipeline, images) = drawing.finish();
    println!("{} images", images?.len());
    Ok(())
}

/// The brightness of an image in at most 32 columns of characters.
fn print(image: &Image) {
    let scale = image.width.div_ceil(32);
    for y in (0..image.height).step_by(2 * scale) {
        let at = |x: usize| usize::from(image.rgb[3 * (y * image.width + x) + 1]);
        let row: String =
            (0..image.width).step_by(scale).map(|x| [' ', '.', ':', '+', '#'][at(x) / 52]).collect();
        println!("{row}");
    }
}
