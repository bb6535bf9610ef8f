//! What the worker of the page does for the program: `page/host.js`.

use latent_diffusion::loader::ReadRange;
use std::io;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(raw_module = "./host.js")]
extern "C" {
    /// Returns after the worker's event loop had a turn.
    pub(crate) fn pause();

    /// Whether the page has asked to stop.
    #[wasm_bindgen(js_name = isCancelled)]
    pub(crate) fn is_cancelled() -> bool;

    /// Writes a line to the console.
    pub(crate) fn log(line: &str);

    /// Hands an event to the page, with the pixels of an image, of which it takes a copy.
    pub(crate) fn post(json: &str, rgb: &[u8]);

    /// Fills the buffer with the bytes of the chosen file from `offset` on; `false` if they cannot be read.
    #[wasm_bindgen(js_name = readRange)]
    fn read_range(offset: f64, buffer: &mut [u8]) -> bool;
}

/// The file that the worker was given last.
pub(crate) struct ChosenFile;

impl ReadRange for ChosenFile {
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Files are far below 2^53 bytes, up to which a double is exact.
        match read_range(offset as f64, buffer) {
            true => Ok(()),
            false => Err(io::Error::other(
                "the browser could not read it; it may have changed since it was chosen",
            )),
        }
    }
}
