//! Files of quantised weights: fused layers are split between blocks.

use super::{Inputs, manifest, params};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::transformer::TransformerFile;

/// Types of tensors in a GGUF file.
const F32: u32 = 0;
const Q8_0: u32 = 8;
/// Values of a block, and its scale: 2^-8.
const BLOCK: usize = 32;
const SCALE: [u8; 2] = 0x1C00u16.to_le_bytes();

/// A tiny original file in GGUF with its matrices in blocks where rows are whole blocks, or in `f32` with the same values.
fn gguf(family: &str, is_quantised: bool) -> TransformerFile {
    let manifest = manifest(family, "tiny", "single");
    let entries: Vec<_> = manifest.files().values().flatten().collect();
    let (mut header, mut data) = (b"GGUF".to_vec(), Vec::new());
    header.extend(3u32.to_le_bytes());
    header.extend((entries.len() as u64).to_le_bytes());
    header.extend(0u64.to_le_bytes());
    for entry in entries {
        let is_matrix = entry.shape.len() > 1;
        let has_blocks = is_matrix && entry.shape.last().is_some_and(|row| row.is_multiple_of(BLOCK));
        let number = |i: usize| (i.wrapping_mul(40_503) >> 3 & 31) as i8 - 16;
        let value = |i: usize| match (is_matrix, entry.name.ends_with("bias")) {
            (true, _) => f32::from(number(i)) / 256.0,
            (false, is_bias) => f32::from(u8::from(!is_bias)),
        };
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        header.extend((entry.name.len() as u64).to_le_bytes());
        header.extend(entry.name.as_bytes());
        header.extend((entry.shape.len() as u32).to_le_bytes());
        header.extend(entry.shape.iter().rev().flat_map(|dim| (*dim as u64).to_le_bytes()));
        header.extend(if has_blocks && is_quantised { Q8_0 } else { F32 }.to_le_bytes());
        header.extend((data.len() as u64).to_le_bytes());
        if has_blocks && is_quantised {
            for first in (0..entry.len()).step_by(BLOCK) {
                data.extend(SCALE);
                data.extend((first..first + BLOCK).map(|i| number(i).cast_unsigned()));
            }
        } else {
            data.extend((0..entry.len()).flat_map(|i| value(i).to_le_bytes()));
        }
    }
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    let bytes = [header, data].concat();
    TransformerFile::open(Checkpoint::from_bytes(family, bytes).unwrap()).unwrap()
}

#[test]
fn blocks_predict_what_their_values_do() {
    for family in ["sd35-medium", "flux-dev", "chroma", "z-image", "flux2-klein"] {
        let [blocks, values] = [true, false].map(|is_quantised| gguf(family, is_quantised));
        assert!(blocks.weights().total_bytes() < values.weights().total_bytes() / 2, "{family}");
        blocks.check_complete().unwrap();
        let inputs = Inputs::of(blocks.config());
        let predict = |file: &TransformerFile| inputs.predict(&file.config().load(&params(file)).unwrap());
        let expected = predict(&values);
        assert!(expected.iter().all(|value| value.is_finite()), "{family}");
        assert!(predict(&blocks) == expected, "{family}");
    }
}
