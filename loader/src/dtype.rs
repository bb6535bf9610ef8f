//! The number formats of safetensors files.

use crate::q8_0::{BLOCK, BLOCK_BYTES};
use std::fmt;

/// A number format. The file's names are those of the safetensors format, version 0.8; it has none for
/// [`Q8_0`](Dtype::Q8_0).
///
/// Only [`F32`](Dtype::F32), [`F16`](Dtype::F16), [`BF16`](Dtype::BF16) and [`Q8_0`](Dtype::Q8_0) are read as weights;
/// the others are known so that files which carry them beside the weights open, and are described rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dtype {
    /// Truth values, one byte each.
    Bool,
    /// OCP Microscaling 4-bit float (E2M1).
    F4,
    /// OCP Microscaling 6-bit float, 2 bits of exponent.
    F6E2M3,
    /// OCP Microscaling 6-bit float, 3 bits of exponent.
    F6E3M2,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// 8-bit float, 5 bits of exponent.
    F8E5M2,
    /// 8-bit float, 4 bits of exponent.
    F8E4M3,
    /// OCP Microscaling 8-bit scale: exponent only.
    F8E8M0,
    /// 8-bit float, 4 bits of exponent, no infinities and one zero.
    F8E4M3Fnuz,
    /// 8-bit float, 5 bits of exponent, no infinities and one zero.
    F8E5M2Fnuz,
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer.
    U32,
    /// IEEE 754 single precision.
    F32,
    /// Complex number of two `f32`.
    C64,
    /// IEEE 754 double precision.
    F64,
    /// 64-bit signed integer.
    I64,
    /// 64-bit unsigned integer.
    U64,
    /// Signed bytes in blocks of 32 that share a scale. No file names it: [`q8_0`](crate::q8_0) tells how it is stored.
    Q8_0,
}

/// Every format with its name in the file and its width in bits: the one table behind all methods.
const TABLE: [(Dtype, &str, usize); 23] = [
    (Dtype::Bool, "BOOL", 8),
    (Dtype::F4, "F4", 4),
    (Dtype::F6E2M3, "F6_E2M3", 6),
    (Dtype::F6E3M2, "F6_E3M2", 6),
    (Dtype::U8, "U8", 8),
    (Dtype::I8, "I8", 8),
    (Dtype::F8E5M2, "F8_E5M2", 8),
    (Dtype::F8E4M3, "F8_E4M3", 8),
    (Dtype::F8E8M0, "F8_E8M0", 8),
    (Dtype::F8E4M3Fnuz, "F8_E4M3FNUZ", 8),
    (Dtype::F8E5M2Fnuz, "F8_E5M2FNUZ", 8),
    (Dtype::I16, "I16", 16),
    (Dtype::U16, "U16", 16),
    (Dtype::F16, "F16", 16),
    (Dtype::BF16, "BF16", 16),
    (Dtype::I32, "I32", 32),
    (Dtype::U32, "U32", 32),
    (Dtype::F32, "F32", 32),
    (Dtype::C64, "C64", 64),
    (Dtype::F64, "F64", 64),
    (Dtype::I64, "I64", 64),
    (Dtype::U64, "U64", 64),
    (Dtype::Q8_0, "Q8_0", 8),
];

impl Dtype {
    /// Every format that a file may name.
    pub fn all() -> impl Iterator<Item = Dtype> {
        TABLE.iter().map(|(dtype, ..)| *dtype).filter(|dtype| *dtype != Dtype::Q8_0)
    }

    /// The format of that name in a file, such as `"F16"`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::all().find(|dtype| dtype.name() == name)
    }

    /// Its name, which is that in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Width of a value, in bits. The 4- and 6-bit formats are stored packed; a block of `Q8_0` has a scale besides.
    #[must_use]
    pub fn bits(self) -> usize {
        TABLE[self as usize].2
    }

    /// Width of a value in whole bytes; `None` for the packed 4- and 6-bit formats, and for `Q8_0`.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        let (values, bytes) = self.block();
        (values == 1).then_some(bytes)
    }

    /// The fewest values that fill whole bytes, and these bytes.
    #[must_use]
    pub fn block(self) -> (usize, usize) {
        match self.bits() {
            _ if self == Dtype::Q8_0 => (BLOCK, BLOCK_BYTES),
            4 => (2, 1),
            6 => (4, 3),
            bits => (1, bits / 8),
        }
    }

    /// Bytes of so many values; `None` where they do not fill whole bytes or blocks, or more than any memory.
    #[must_use]
    pub fn bytes_of(self, values: usize) -> Option<usize> {
        let (of_block, bytes) = self.block();
        if values.is_multiple_of(of_block) { (values / of_block).checked_mul(bytes) } else { None }
    }

    /// Whether tensors of this format are read as weights: `F32`, `F16`, `BF16` and `Q8_0` are.
    #[must_use]
    pub fn is_weight(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::Q8_0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (dtype, name, bits)) in TABLE.into_iter().enumerate() {
            assert_eq!(dtype as usize, index);
            assert_eq!((dtype.name(), dtype.bits()), (name, bits));
            assert_eq!(Dtype::from_name(name), (dtype != Dtype::Q8_0).then_some(dtype));
        }
        assert_eq!(Dtype::from_name("f32"), None);
        assert_eq!(format!("{:>5}", Dtype::F16), "  F16");
    }

    #[test]
    fn sizes_are_in_whole_bytes() {
        assert_eq!(Dtype::F16.size(), Some(2));
        assert_eq!(Dtype::C64.size(), Some(8));
        assert_eq!((Dtype::F4.size(), Dtype::Q8_0.size()), (None, None));
        for dtype in Dtype::all() {
            let (values, bytes) = dtype.block();
            assert_eq!((values * dtype.bits(), dtype.bytes_of(3 * values)), (8 * bytes, Some(3 * bytes)));
        }
        assert_eq!((Dtype::F4.bytes_of(3), Dtype::F6E2M3.bytes_of(6)), (None, None));
        assert_eq!((Dtype::Q8_0.bytes_of(64), Dtype::Q8_0.bytes_of(48)), (Some(68), None));
        assert_eq!(Dtype::F64.bytes_of(usize::MAX), None);
        assert!(Dtype::Q8_0.is_weight());
        let weights: Vec<_> = Dtype::all().filter(|d| d.is_weight()).collect();
        assert_eq!(weights, [Dtype::F16, Dtype::BF16, Dtype::F32]);
    }
}
