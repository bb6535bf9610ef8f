//! The enum of all dtypes.

use std::fmt;

/// How the values of a tensor are stored.
///
/// The dtypes of the safetensors format, version 0.8, and the block formats of this workspace. Only those of
/// [`is_weight`](DType::is_weight) are read as weights; the others are known so that files that carry them beside the
/// weights open, and are described correctly.
///
/// ```
/// use latent_dtype::DType;
///
/// assert_eq!(DType::BF16.to_string(), "bf16");
/// assert_eq!(DType::BF16.header_name(), "BF16");
/// assert!(DType::Q8_0.is_weight() && !DType::I64.is_weight());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(non_camel_case_types, reason = "the names of the field, in which K and NL are words of their own")]
pub enum DType {
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
    /// 8-bit float, 5 bits of exponent ([`F8`](crate::F8)).
    F8E5M2,
    /// 8-bit float, 4 bits of exponent, no infinities ([`F8`](crate::F8)).
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
    /// Signed bytes in blocks of 32 that share a scale ([`block::Q8_0`](crate::block::Q8_0)), 8.5 bits a value. Only of
    /// weights; a safetensors header has no name for it.
    Q8_0,
    /// Numbers of 4 bits in blocks of 32 that share a scale ([`block::Q4_0`](crate::block::Q4_0)), 4.5 bits a value.
    Q4_0,
    /// Numbers of 4 bits in blocks of 32 that share a scale and an offset ([`block::Q4_1`](crate::block::Q4_1)), 5 bits a value.
    Q4_1,
    /// Numbers of 5 bits in blocks of 32 that share a scale ([`block::Q5_0`](crate::block::Q5_0)), 5.5 bits a value.
    Q5_0,
    /// Numbers of 5 bits in blocks of 32 that share a scale and an offset ([`block::Q5_1`](crate::block::Q5_1)), 6 bits a value.
    Q5_1,
    /// Numbers of 2 bits in blocks of 256, with scales and offsets of 16 groups ([`block::Q2K`](crate::block::Q2K)), 2.625 bits a value.
    Q2_K,
    /// Numbers of 3 bits in blocks of 256, with scales of 16 groups ([`block::Q3K`](crate::block::Q3K)), 3.4375 bits a value.
    Q3_K,
    /// Numbers of 4 bits in blocks of 256, with scales and offsets of 8 groups ([`block::Q4K`](crate::block::Q4K)), 4.5 bits a value.
    Q4_K,
    /// Numbers of 5 bits in blocks of 256, with scales and offsets of 8 groups ([`block::Q5K`](crate::block::Q5K)), 5.5 bits a value.
    Q5_K,
    /// Numbers of 6 bits in blocks of 256, with scales of 16 groups ([`block::Q6K`](crate::block::Q6K)), 6.5625 bits a value.
    Q6_K,
    /// Places in a table, of 4 bits, in blocks of 32 that share a scale ([`block::Iq4Nl`](crate::block::Iq4Nl)), 4.5 bits a value.
    IQ4_NL,
    /// Places in a table, of 4 bits, in blocks of 256, with scales of 8 groups ([`block::Iq4Xs`](crate::block::Iq4Xs)), 4.25 bits a value.
    IQ4_XS,
}

/// What is known of a dtype.
struct DTypeRow {
    dtype: DType,
    name: &'static str,
    header_name: &'static str,
    /// Bits of a value, without its share of a block's scale.
    bits: usize,
    /// The fewest values that fill whole bytes or a block, and the bytes that they fill.
    block: (usize, usize),
    /// Whether a safetensors header can name it, and so it is not a block format.
    in_headers: bool,
}

/// A dtype of the safetensors format.
const fn plain(dtype: DType, name: &'static str, header_name: &'static str, bits: usize) -> DTypeRow {
    let block = match bits {
        4 => (2, 1),
        6 => (4, 3),
        bits => (1, bits / 8),
    };
    DTypeRow { dtype, name, header_name, bits, block, in_headers: true }
}

/// A block format. `crate::block` checks the sizes against its specification.
const fn blocks(
    dtype: DType,
    name: &'static str,
    header_name: &'static str,
    bits: usize,
    block: (usize, usize),
) -> DTypeRow {
    DTypeRow { dtype, name, header_name, bits, block, in_headers: false }
}

/// Every dtype, in the order of the enum: the one table behind all methods.
const TABLE: [DTypeRow; 34] = [
    plain(DType::Bool, "bool", "BOOL", 8),
    plain(DType::F4, "f4", "F4", 4),
    plain(DType::F6E2M3, "f6_e2m3", "F6_E2M3", 6),
    plain(DType::F6E3M2, "f6_e3m2", "F6_E3M2", 6),
    plain(DType::U8, "u8", "U8", 8),
    plain(DType::I8, "i8", "I8", 8),
    plain(DType::F8E5M2, "f8_e5m2", "F8_E5M2", 8),
    plain(DType::F8E4M3, "f8_e4m3", "F8_E4M3", 8),
    plain(DType::F8E8M0, "f8_e8m0", "F8_E8M0", 8),
    plain(DType::F8E4M3Fnuz, "f8_e4m3fnuz", "F8_E4M3FNUZ", 8),
    plain(DType::F8E5M2Fnuz, "f8_e5m2fnuz", "F8_E5M2FNUZ", 8),
    plain(DType::I16, "i16", "I16", 16),
    plain(DType::U16, "u16", "U16", 16),
    plain(DType::F16, "f16", "F16", 16),
    plain(DType::BF16, "bf16", "BF16", 16),
    plain(DType::I32, "i32", "I32", 32),
    plain(DType::U32, "u32", "U32", 32),
    plain(DType::F32, "f32", "F32", 32),
    plain(DType::C64, "c64", "C64", 64),
    plain(DType::F64, "f64", "F64", 64),
    plain(DType::I64, "i64", "I64", 64),
    plain(DType::U64, "u64", "U64", 64),
    blocks(DType::Q8_0, "q8_0", "Q8_0", 8, (32, 34)),
    blocks(DType::Q4_0, "q4_0", "Q4_0", 4, (32, 18)),
    blocks(DType::Q4_1, "q4_1", "Q4_1", 4, (32, 20)),
    blocks(DType::Q5_0, "q5_0", "Q5_0", 5, (32, 22)),
    blocks(DType::Q5_1, "q5_1", "Q5_1", 5, (32, 24)),
    blocks(DType::Q2_K, "q2_k", "Q2_K", 2, (256, 84)),
    blocks(DType::Q3_K, "q3_k", "Q3_K", 3, (256, 110)),
    blocks(DType::Q4_K, "q4_k", "Q4_K", 4, (256, 144)),
    blocks(DType::Q5_K, "q5_k", "Q5_K", 5, (256, 176)),
    blocks(DType::Q6_K, "q6_k", "Q6_K", 6, (256, 210)),
    blocks(DType::IQ4_NL, "iq4_nl", "IQ4_NL", 4, (32, 18)),
    blocks(DType::IQ4_XS, "iq4_xs", "IQ4_XS", 4, (256, 136)),
];

impl DType {
    /// Every dtype.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|row| row.dtype)
    }

    /// Every dtype that a safetensors header can name: all but the block formats.
    pub fn in_headers() -> impl Iterator<Item = DType> {
        TABLE.iter().filter(|row| row.in_headers).map(|row| row.dtype)
    }

    /// The dtype of that [`name`](DType::name), such as `"f16"`, in upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<DType> {
        DType::all().find(|dtype| dtype.name().eq_ignore_ascii_case(name))
    }

    /// The dtype that a safetensors header gives that name, such as `"F16"`. Block formats have none there.
    #[must_use]
    pub fn from_header_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.in_headers && row.header_name == name).map(|row| row.dtype)
    }

    const fn row(self) -> &'static DTypeRow {
        &TABLE[self as usize]
    }

    /// Its name, such as `"f16"`, as flags and error messages have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its name in the style of safetensors headers, such as `"F16"`; block formats have one too.
    #[must_use]
    pub const fn header_name(self) -> &'static str {
        self.row().header_name
    }

    /// Bits of a value. The 4- and 6-bit dtypes are stored packed; the scale of a block format is not counted.
    #[must_use]
    pub const fn bits(self) -> usize {
        self.row().bits
    }

    /// Values of a block: the fewest that fill whole bytes. 1, but for the packed dtypes of 4 and 6 bits and the block
    /// formats. A row of a weight is whole blocks.
    #[must_use]
    pub const fn block_len(self) -> usize {
        self.row().block.0
    }

    /// Bytes of a block of [`block_len`](DType::block_len) values.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.row().block.1
    }

    /// Bytes of the blocks that so many values need.
    #[must_use]
    pub const fn bytes(self, values: usize) -> usize {
        values.div_ceil(self.block_len()) * self.block_bytes()
    }

    /// Bytes of so many values; `None` where they are not whole blocks, or more than any memory holds.
    #[must_use]
    pub fn checked_bytes(self, values: usize) -> Option<usize> {
        let blocks = values.is_multiple_of(self.block_len()).then_some(values / self.block_len())?;
        blocks.checked_mul(self.block_bytes())
    }

    /// Bytes of one value.
    ///
    /// # Panics
    /// Where no value stands alone: of packed dtypes and block formats.
    #[must_use]
    pub fn size(self) -> usize {
        assert_eq!(self.block_len(), 1, "values of {self} are stored in blocks");
        self.block_bytes()
    }

    /// Whether it is a block format ([`block`](crate::block)): values that share a scale.
    #[must_use]
    pub const fn is_block_format(self) -> bool {
        !self.row().in_headers
    }

    /// Whether it is an 8-bit float of weights ([`F8`](crate::F8)).
    #[must_use]
    pub const fn is_f8(self) -> bool {
        matches!(self, DType::F8E4M3 | DType::F8E5M2)
    }

    /// Whether tensors of this dtype are read as weights: `f32`, `f16`, `bf16`, the 8-bit floats `f8_e4m3` and `f8_e5m2`, and
    /// the block formats are.
    #[must_use]
    pub const fn is_weight(self) -> bool {
        self.is_block_format() || self.is_f8() || matches!(self, DType::F32 | DType::F16 | DType::BF16)
    }
}

impl fmt::Display for DType {
    /// Its [`name`](DType::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            let dtype = row.dtype;
            assert_eq!(dtype as usize, index);
            assert_eq!(
                (dtype.name(), dtype.header_name(), dtype.bits()),
                (row.name, row.header_name, row.bits)
            );
            assert_eq!(row.header_name.to_lowercase(), row.name);
            assert_eq!(DType::from_name(row.name), Some(dtype));
            assert_eq!(DType::from_name(row.header_name), Some(dtype));
            assert_eq!(DType::from_header_name(row.header_name), (!dtype.is_block_format()).then_some(dtype));
        }
        assert_eq!(DType::from_header_name("f32"), None);
        assert_eq!(DType::from_name("f7"), None);
        assert_eq!(format!("{:>5}", DType::F16), "  f16");
    }

    #[test]
    fn sizes_are_in_whole_bytes() {
        assert_eq!((DType::F16.size(), DType::C64.size()), (2, 8));
        for dtype in DType::in_headers() {
            let (values, bytes) = (dtype.block_len(), dtype.block_bytes());
            assert_eq!(
                (values * dtype.bits(), dtype.checked_bytes(3 * values)),
                (8 * bytes, Some(3 * bytes))
            );
            assert_eq!(dtype.bytes(3 * values), 3 * bytes);
        }
        assert_eq!((DType::F4.checked_bytes(3), DType::F6E2M3.checked_bytes(6)), (None, None));
        assert_eq!((DType::Q8_0.checked_bytes(64), DType::Q8_0.checked_bytes(48)), (Some(68), None));
        assert_eq!((DType::Q8_0.bytes(96), DType::Q8_0.bytes(48)), (102, 68));
        assert_eq!(DType::F64.checked_bytes(usize::MAX), None);
    }

    #[test]
    fn weights_are_floats_and_blocks() {
        let weights: Vec<_> = DType::all().filter(|dtype| dtype.is_weight()).collect();
        let floats = [DType::F8E5M2, DType::F8E4M3, DType::F16, DType::BF16, DType::F32];
        assert_eq!(weights[..5], floats);
        assert!(weights[5..].iter().all(|dtype| dtype.is_block_format()));
    }

    #[test]
    #[should_panic(expected = "values of q8_0 are stored in blocks")]
    fn a_value_of_a_block_has_no_size() {
        let _ = DType::Q8_0.size();
    }
}
