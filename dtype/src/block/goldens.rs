//! All formats: what they read, against the `gguf` package, and what they write.

use super::{CODECS, codec};
use crate::DType;

/// Blocks of any bytes with finite scales, and what `gguf.quants.dequantize` makes of them, as bits. `goldens.py` writes it.
const GOLDENS: &str = include_str!("goldens.txt");

/// Bytes or numbers in hexadecimal.
fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// Normally distributed values, nearly: sums of a fixed sequence.
fn weights(count: usize) -> Vec<f32> {
    let mut state = 0x1234_5678_9ABC_DEF1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| 0.05 * (0..6).map(|_| next()).sum::<f32>()).collect()
}

#[test]
fn every_format_reads_blocks_as_the_gguf_package_does() {
    let mut formats = Vec::new();
    for line in GOLDENS.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [name, block, values] = parts[..] else { panic!("{line}") };
        let dtype = DType::from_name(name).unwrap();
        let (codec, block) = (codec(dtype).unwrap(), hex(block));
        let wanted: Vec<u32> =
            hex(values).as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
        let got: Vec<u32> = codec.dequantize(&block).iter().map(|value| value.to_bits()).collect();
        assert_eq!(got, wanted, "{dtype}");
        let one_by_one: Vec<u32> = (0..got.len()).map(|i| codec.value(&block, i).to_bits()).collect();
        assert_eq!(one_by_one, wanted, "{dtype}, one value at a time");
        assert_eq!(codec.find_non_finite(&block), None);
        formats.push(dtype);
    }
    formats.dedup();
    assert_eq!(formats, CODECS.iter().map(|codec| codec.dtype()).collect::<Vec<_>>());
}

/// Relative error of weights as they are in models.
#[test]
fn what_is_written_comes_back_with_a_small_error() {
    let limits = [
        (DType::Q8_0, 0.0053),
        (DType::Q4_0, 0.0800),
        (DType::Q4_1, 0.0700),
        (DType::Q5_0, 0.0395),
        (DType::Q5_1, 0.0337),
        (DType::Q2_K, 0.2660),
        (DType::Q3_K, 0.1445),
        (DType::Q4_K, 0.0705),
        (DType::Q5_K, 0.0350),
        (DType::Q6_K, 0.0172),
        (DType::IQ4_NL, 0.0745),
        (DType::IQ4_XS, 0.0751),
    ];
    let values = weights(64 * 256);
    let square =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for (dtype, limit) in limits {
        let codec = codec(dtype).unwrap();
        let back = codec.dequantize(&codec.quantize(&values, 256).unwrap());
        let error =
            square(&mut back.iter().zip(&values).map(|(a, b)| a - b)) / square(&mut values.iter().copied());
        assert!(error < limit, "{dtype}: {error}");
    }
}

#[test]
fn blocks_of_equal_values_and_of_zeros_come_back() {
    for codec in CODECS {
        for value in [0.0, 1.0, -0.5, 3e-3] {
            let values = vec![value; 256];
            let back = codec.dequantize(&codec.quantize(&values, 256).unwrap());
            let close = |got: &f32| (got - value).abs() <= 0.02 * value.abs();
            assert!(back.iter().all(close), "{} {value} {:?}", codec.dtype(), &back[..3]);
        }
    }
}

#[test]
fn a_scale_that_is_not_finite_is_found() {
    for codec in CODECS {
        let bytes = codec.dtype().block_bytes();
        let mut blocks = vec![0; 3 * bytes];
        assert_eq!(codec.find_non_finite(&blocks), None);
        let halves = (0..bytes - 1).filter(|at| {
            blocks[bytes + at..][..2].copy_from_slice(&[0, 0x7C]);
            let found = codec.find_non_finite(&blocks);
            blocks[bytes..2 * bytes].fill(0);
            assert!(found.is_none_or(|index| index == codec.dtype().block_len()));
            found.is_some()
        });
        assert!((1..=2).contains(&halves.count()), "{}", codec.dtype());
    }
}
