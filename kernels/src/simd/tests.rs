//! Every instance of the trait against scalar arithmetic.

use super::*;

/// Applies a unary vector function to a slice.
struct Map<'a, F> {
    x: &'a [f32],
    f: F,
}

trait Unary {
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32;
}

impl<F: Unary> SimdOp for Map<'_, F> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = vec![0.0; self.x.len()];
        for (x, y) in self.x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let v = self.f.apply(s, s.load_partial(x, 0.0));
            s.store_partial(y, v);
        }
        out
    }
}

struct Exp2;
impl Unary for Exp2 {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        exp2(s, v)
    }
}
struct SignedOne;
impl Unary for SignedOne {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        s.copysign(s.abs(s.splat(-1.0)), v)
    }
}

fn grid(low: f32, high: f32, n: usize) -> Vec<f32> {
    (0..n).map(|i| low + (high - low) * i as f32 / (n - 1) as f32).collect()
}

#[test]
fn exp2_is_exact_to_two_ulps_of_f64() {
    let x = grid(-126.0, 127.0, 100_003);
    for isa in Isa::available() {
        for (&x, y) in x.iter().zip(isa.run(Map { x: &x, f: Exp2 })) {
            let want = f64::from(x).exp2();
            let error = (f64::from(y) - want).abs() / want;
            assert!(error < 2e-7, "{isa}: exp2({x}) = {y}, want {want}, relative error {error:e}");
        }
        let ends = [f32::NEG_INFINITY, -1000.0, 0.0, f32::NAN];
        let got = isa.run(Map { x: &ends, f: Exp2 });
        assert!(got[0] < 2e-38 && got[1] < 2e-38 && got[2] == 1.0 && got[3].is_nan(), "{isa}: {got:?}");
    }
}

#[test]
fn signs() {
    let x = [0.5, -1.5, 2.5, -0.0, 0.0, 7.0];
    for isa in Isa::available() {
        let want: Vec<f32> = x.iter().map(|v| 1f32.copysign(*v)).collect();
        assert_eq!(isa.run(Map { x: &x, f: SignedOne }), want, "{isa}");
    }
}

/// The values of 16 bits or more that the trait transposes.
#[derive(Clone, Copy, Debug)]
enum Columns {
    F32,
    F16,
    Bf16,
}

/// Transposes eight columns of sixteen rows.
struct Transpose<'a>(Columns, &'a [u8]);
impl SimdOp for Transpose<'_> {
    type Output = [f32; 128];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 128] {
        let Transpose(columns, bytes) = self;
        let mut out = [f32::NAN; 128];
        let rows = std::array::from_fn(|row| bytes[row * bytes.len() / 16..].as_ptr());
        let to: Vec<*mut f32> = out.chunks_exact_mut(16).map(|column| column.as_mut_ptr()).collect();
        let to: &[*mut f32; 8] = to.as_slice().try_into().unwrap();
        // SAFETY: sixteen rows of eight values, and eight columns of sixteen.
        unsafe {
            match columns {
                Columns::F32 => s.transpose_f32(&rows, to),
                Columns::F16 => s.transpose_f16(&rows, to),
                Columns::Bf16 => s.transpose_bf16(&rows, to),
            }
        }
        out
    }
}

#[test]
fn transposes_convert_exactly() {
    let bits = |size: usize, last: u32| (0..=last).flat_map(move |i| i.to_le_bytes()[..size].to_vec());
    let every: Vec<u8> = bits(2, u32::from(u16::MAX)).collect();
    let singles: Vec<u8> = (0..4096).flat_map(|i| (i as f32 * 0.37 - 500.0).to_le_bytes()).collect();
    for (columns, size, bytes) in
        [(Columns::F16, 2, &every), (Columns::Bf16, 2, &every), (Columns::F32, 4, &singles)]
    {
        // One byte on: no alignment is asked for.
        let shifted: Vec<u8> = [&[0], &bytes[..]].concat();
        for block in shifted[1..].chunks_exact(128 * size) {
            for isa in Isa::available() {
                let got = isa.run(Transpose(columns, block));
                for (i, got) in got.iter().enumerate() {
                    let value = &block[(i % 16 * 8 + i / 16) * size..][..size];
                    let want = match columns {
                        Columns::F32 => f32::from_le_bytes(value.try_into().unwrap()),
                        Columns::F16 => half::f16::from_le_bytes(value.try_into().unwrap()).to_f32(),
                        Columns::Bf16 => half::bf16::from_le_bytes(value.try_into().unwrap()).to_f32(),
                    };
                    let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                    assert!(same, "{isa} {columns:?}: {got} for {want}");
                }
            }
        }
    }
}

/// Transposes eight columns of sixteen rows of bytes, times factors that are given as halves.
struct TransposeBytes<'a>([u16; 16], &'a [u8; 128]);
impl SimdOp for TransposeBytes<'_> {
    type Output = ([f32; 16], [f32; 128]);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let mut out = [f32::NAN; 128];
        let factors = s.widen_f16(self.0);
        let rows = std::array::from_fn(|row| self.1[8 * row..].as_ptr());
        let to: Vec<*mut f32> = out.chunks_exact_mut(16).map(|column| column.as_mut_ptr()).collect();
        // SAFETY: sixteen rows of eight bytes, and eight columns of sixteen values.
        unsafe { s.transpose_i8(&rows, &factors, to.as_slice().try_into().unwrap()) };
        (factors, out)
    }
}

#[test]
fn bytes_are_multiplied_by_the_factor_of_their_row() {
    let bytes: [u8; 256] = std::array::from_fn(|i| i as u8);
    for first in (0..=u16::MAX - 16).step_by(16) {
        let halves: [u16; 16] = std::array::from_fn(|i| first + i as u16);
        let bytes = bytes[first as usize / 16 % 2 * 128..].first_chunk().unwrap();
        for isa in Isa::available() {
            let (factors, out) = isa.run(TransposeBytes(halves, bytes));
            for (bits, factor) in halves.iter().zip(factors) {
                let want = half::f16::from_bits(*bits).to_f32();
                assert!(
                    factor.to_bits() == want.to_bits() || (factor.is_nan() && want.is_nan()),
                    "{isa}: {want}"
                );
            }
            for (i, got) in out.iter().enumerate() {
                let want = factors[i % 16] * f32::from(bytes[i % 16 * 8 + i / 16] as i8);
                assert!(
                    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                    "{isa}: {got} for {want}"
                );
            }
        }
    }
}

struct Reduce<'a>(&'a [f32]);
impl SimdOp for Reduce<'_> {
    type Output = (f32, f32);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f32, f32) {
        let (mut sum, mut max) = (s.splat(0.0), s.splat(f32::NEG_INFINITY));
        for x in self.0.chunks_exact(S::LANES) {
            sum = s.add(sum, s.load(x));
            max = s.max(max, s.load(x));
        }
        (s.reduce_add(sum), s.reduce_max(max))
    }
}

#[test]
fn lanes_reduce() {
    let x: Vec<f32> = (1..=32).map(|i| i as f32).collect();
    for isa in Isa::available() {
        assert_eq!(isa.run(Reduce(&x)), (528.0, 32.0), "{isa}");
    }
}

/// Applies a function of two vectors.
struct Zip<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    f: F,
}

trait Binary {
    fn apply<S: Simd>(&self, s: S, a: S::F32, b: S::F32) -> S::F32;
}

impl<F: Binary> SimdOp for Zip<'_, F> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = vec![0.0; self.a.len()];
        for (i, y) in out.chunks_mut(S::LANES).enumerate() {
            let load = |x: &[f32]| s.load_partial(&x[i * S::LANES..], 1.0);
            let v = self.f.apply(s, load(self.a), load(self.b));
            s.store_partial(y, v);
        }
        out
    }
}

/// One of the trait's functions of two vectors, by its place in a list.
struct Pick(usize);
impl Binary for Pick {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, a: S::F32, b: S::F32) -> S::F32 {
        match self.0 {
            0 => s.add(a, b),
            1 => s.sub(a, b),
            2 => s.mul(a, b),
            3 => s.div(a, b),
            4 => s.min(a, b),
            5 => s.max(a, b),
            6 => s.copysign(a, b),
            _ => s.abs(a),
        }
    }
}

#[test]
fn functions_of_two_vectors_are_those_of_scalars_bit_for_bit() {
    let values =
        [0.0, -0.0, 1.0, -1.5, 3.25e-3, -7.5e20, 1e-40, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.1];
    let (a, b): (Vec<f32>, Vec<f32>) = values.iter().flat_map(|a| values.iter().map(|b| (*a, *b))).unzip();
    let scalar: [fn(f32, f32) -> f32; 8] = [
        |a, b| a + b,
        |a, b| a - b,
        |a, b| a * b,
        |a, b| a / b,
        |a, b| if a < b { a } else { b },
        |a, b| if a > b { a } else { b },
        f32::copysign,
        |a, _| a.abs(),
    ];
    for isa in Isa::available() {
        for (function, scalar) in scalar.iter().enumerate() {
            for ((a, b), y) in a.iter().zip(&b).zip(isa.run(Zip { a: &a, b: &b, f: Pick(function) })) {
                let want = scalar(*a, *b);
                let same = y.to_bits() == want.to_bits() || (y.is_nan() && want.is_nan());
                assert!(same, "{isa}: function {function} of {a} and {b} is {y}, want {want}");
            }
        }
    }
}

/// `mul_add`, and two to whole powers.
struct Powers;
impl Unary for Powers {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        s.scale_exp2(s.splat(1.5), s.add(v, s.splat(ROUND)))
    }
}

#[test]
fn whole_powers_of_two_are_exact() {
    let x: Vec<f32> = (-126..=127).map(|n| n as f32).collect();
    let want: Vec<f32> = x.iter().map(|n| 1.5 * n.exp2()).collect();
    for isa in Isa::available() {
        assert_eq!(isa.run(Map { x: &x, f: Powers }), want, "{isa}");
    }
}

/// Loads a part of a vector, and stores it one lane short; returns the lanes and what was stored.
struct Part<'a>(&'a [f32]);
impl SimdOp for Part<'_> {
    type Output = (Vec<f32>, Vec<f32>);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let v = s.load_partial(self.0, -9.0);
        let (mut lanes, mut kept) = (vec![0.0; S::LANES], vec![5.0; MAX_LANES + 1]);
        s.store(&mut lanes, v);
        s.store_partial(&mut kept[..self.0.len().saturating_sub(1)], v);
        (lanes, kept)
    }
}

#[test]
fn parts_of_vectors_touch_nothing_beyond_them() {
    let x: Vec<f32> = (1..=MAX_LANES + 1).map(|i| i as f32).collect();
    for isa in Isa::available() {
        for n in 0..=x.len() {
            let (lanes, kept) = isa.run(Part(&x[..n]));
            for (i, v) in lanes.iter().enumerate() {
                assert_eq!(*v, if i < n { x[i] } else { -9.0 }, "{isa}: lane {i} of {n}");
            }
            for (i, v) in kept.iter().enumerate() {
                let stored = i + 1 < n && i < lanes.len();
                assert_eq!(*v, if stored { x[i] } else { 5.0 }, "{isa}: value {i} of {n}");
            }
        }
    }
}

#[test]
fn every_set_has_a_name_of_its_own() {
    for isa in Isa::available() {
        assert!(Isa::ALL.contains(&isa));
        assert_eq!(Isa::ALL.iter().filter(|other| other.name() == isa.name()).count(), 1, "{isa}");
        assert_eq!(Isa::ALL.iter().filter(|other| isa.includes(**other) && other.includes(isa)).count(), 1);
    }
}
