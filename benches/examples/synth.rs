//! Writes a synthetic checkpoint:
//!
//! ```text
//! cargo run --release -p latent-benches --example synth -- MANIFEST SEED DTYPE OUT
//! ```
//!
//! `MANIFEST` is one of `diffusion/tests/reference/manifests/*.json`, `DTYPE` is `f16`, `bf16` or `f32`. `OUT` is a
//! file for a manifest of the single-file layout, and a folder for one of the diffusers layout, which gets the
//! safetensors files, `model_index.json` and the configuration of every component, but no tokenizer files.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use latent_benches::{Manifest, synth};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [manifest, seed, dtype, out] = &arguments[..] else {
        eprintln!("usage: synth MANIFEST SEED DTYPE OUT");
        return ExitCode::from(2);
    };
    match run(manifest, seed, dtype, Path::new(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(manifest: &str, seed: &str, dtype: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let json = fs::read_to_string(manifest).map_err(|e| format!("cannot read {manifest}: {e}"))?;
    let manifest = Manifest::parse(&json)?;
    let seed: u64 = seed.parse().map_err(|e| format!("the seed {seed:?} is not a number: {e}"))?;
    let dtype = synth::parse_dtype(dtype)?;
    let start = Instant::now();
    synth::write_checkpoint(&manifest, seed, dtype, out)
        .map_err(|e| format!("cannot write {}: {e}", out.display()))?;
    let tensors: usize = manifest.files().values().map(Vec::len).sum();
    println!("{tensors} tensors written to {} in {:.2} s", out.display(), start.elapsed().as_secs_f64());
    Ok(())
}
