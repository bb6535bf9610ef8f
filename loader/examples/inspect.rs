//! Lists what a safetensors file or a diffusers folder contains. Only headers are read, so a file of 7 GB takes milliseconds.
//!
//! ```sh
//! cargo run --release -p latent-loader --example inspect -- model.safetensors
//! ```

use latent_loader::{Checkpoint, LoadError, Plain};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: inspect FILE");
        return ExitCode::from(2);
    };
    match Checkpoint::open(&path) {
        Ok(checkpoint) => match print(&checkpoint) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        },
        Err(error) => refuse(&error),
    }
}

fn print(checkpoint: &Checkpoint) -> Result<(), LoadError> {
    // Names and metadata come from the file: `Plain` escapes what could control a terminal.
    println!("{}: {:?}, {} bytes", Plain(checkpoint.label()), checkpoint.layout(), checkpoint.file_bytes());
    for (key, value) in checkpoint.metadata() {
        println!("{}: {}", Plain(key), Plain(value));
    }
    let mut values_by_dtype = BTreeMap::new();
    for tensor in checkpoint.tensors() {
        println!("{} {} {:?}", Plain(&tensor.name), tensor.dtype, tensor.shape);
        *values_by_dtype.entry(tensor.dtype.name()).or_insert(0) += tensor.shape.iter().product::<usize>();
    }
    for (dtype, values) in values_by_dtype {
        println!("{values} values of {dtype}");
    }
    // The first tensor, read: its values are checked for NaN and infinity.
    if let Some(first) = checkpoint.tensors().next().filter(|tensor| tensor.dtype.is_weight()) {
        let values = checkpoint.read(&first.name)?.to_f32()?;
        println!("{} starts with {:?}", Plain(&first.name), &values[..values.len().min(4)]);
    }
    Ok(())
}

fn refuse(error: &LoadError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}
