//! The model that a command works with: a file, or the demo model built into the program.

use crate::error::CliError;
use latent_loader::{Checkpoint, Layout};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::thread::JoinHandle;

/// A small Stable Diffusion 1.x model that draws emoji-like pictures of 64x64; `assets/MODEL_CARD.md` tells of it.
static DEMO: &[u8] = include_bytes!("../../assets/demo.safetensors");

/// Name of the demo model in messages and in pictures.
const DEMO_NAME: &str = "demo";

/// Digits of the webui's model hash: the first of the file's SHA-256 ("AutoV2").
const HASH_DIGITS: usize = 10;

/// An opened model, its name, and its hash on the way.
pub(crate) struct Model {
    pub(crate) checkpoint: Checkpoint,
    /// The file's stem.
    pub(crate) name: String,
    /// Computed while the picture is drawn; `None` for a folder.
    pub(crate) hash: JoinHandle<Option<String>>,
}

/// Opens a file or folder, or the demo model.
pub(crate) fn open(path: Option<&Path>) -> Result<Model, CliError> {
    let Some(path) = path else {
        let checkpoint = Checkpoint::from_bytes("built-in demo model", DEMO)?;
        let hash = std::thread::spawn(|| Some(short(&Sha256::digest(DEMO))));
        return Ok(Model { checkpoint, name: DEMO_NAME.to_owned(), hash });
    };
    let checkpoint = Checkpoint::open(path)?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let (is_file, path) = (checkpoint.layout() == Layout::SingleFile, path.to_owned());
    let hash = std::thread::spawn(move || if is_file { hash_file(&path).ok() } else { None });
    Ok(Model { checkpoint, name, hash })
}

/// The webui's hash of a file.
fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(short(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn short(digest: &[u8]) -> String {
    let mut hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(HASH_DIGITS);
    hex
}
