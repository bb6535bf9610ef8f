//! The files in `vocabulary/`.

use flate2::read::GzDecoder;
use std::io::Read;

/// The contents of a file.
///
/// # Panics
/// If it is not one of gzip. It is part of the program.
pub(super) fn unpack(file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("the vocabulary is a file of gzip");
    bytes
}

/// The text of a file.
///
/// # Panics
/// As [`unpack`], and if it is not UTF-8.
pub(super) fn unpack_text(file: &[u8]) -> String {
    String::from_utf8(unpack(file)).expect("the vocabulary is UTF-8")
}

/// The rows of `N` numbers of a file, which holds the first byte of each row, then the second of each, and so on.
///
/// # Panics
/// As [`unpack`].
pub(super) fn unpack_numbers<const N: usize>(file: &[u8]) -> Vec<[u32; N]> {
    let planes = unpack(file);
    let rows = planes.len() / (4 * N);
    let number = |row: usize, column: usize| {
        u32::from_le_bytes(std::array::from_fn(|byte| planes[(4 * column + byte) * rows + row]))
    };
    (0..rows).map(|row| std::array::from_fn(|column| number(row, column))).collect()
}
