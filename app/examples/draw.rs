//! Draws an image with the built-in model. Shows each step, keeps the previews, and cancels itself after ten seconds.
//!
//! ```sh
//! cargo run --release -p latent-app --example draw -- "a red apple" apple.png
//! ```

use latent_app::job::PreviewOptions;
use latent_app::output::Output;
use latent_app::{CancelToken, Job, JobEvent, Session};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let prompt = args.next().unwrap_or_else(|| "a red apple".to_owned());
    let output = Output::new(Path::new(&args.next().unwrap_or_else(|| "apple.png".to_owned())))?;
    let preview = Output::file(Path::new("preview.png"))?;

    let mut job = Job::txt2img(prompt);
    job.sampling.steps = Some(20);
    job.preview = Some(PreviewOptions::every(5));

    let cancel = CancelToken::new();
    let timer = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(10));
        timer.cancel();
    });
    let mut written = Ok(());
    Session::new().run(&job, &cancel, &mut |event| {
        match event {
            JobEvent::SeedChosen(seed) => println!("seed {seed}"),
            JobEvent::Step { step, total, .. } => println!("step {step} of {total}"),
            JobEvent::Preview(image) => written = preview.write(&preview.path(0, 0), &image, &[]).map(drop),
            JobEvent::Image(drawn) => {
                written =
                    output.write(&output.path(drawn.index, drawn.seed), &drawn.image, &drawn.texts).map(drop);
            }
            _ => {}
        }
        if written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(written?)
}
