//! Arithmetic on rows of words.

use half::f16;
use naga::{BinaryOperator, MathFunction, Scalar, ScalarKind, UnaryOperator};

fn narrow(x: f32) -> u32 {
    u32::from(f16::from_f32(x).to_bits())
}

fn widen(word: u32) -> f32 {
    f16::from_bits(word as u16).to_f32()
}

fn map1(words: &[u32], out: &mut Vec<u32>, op: impl Fn(u32) -> u32) {
    out.extend(words.iter().map(|word| op(*word)));
}

/// Word by word; a scalar goes with all parts of a vector.
fn map2([a, b]: [&[u32]; 2], lanes: usize, out: &mut Vec<u32>, op: impl Fn(u32, u32) -> u32) {
    if a.len() == b.len() {
        out.extend(a.iter().zip(b).map(|(a, b)| op(*a, *b)));
    } else if a.len() == lanes {
        out.extend(a.iter().cycle().zip(b).map(|(a, b)| op(*a, *b)));
    } else {
        assert_eq!(b.len(), lanes, "operands of different sizes");
        out.extend(a.iter().zip(b.iter().cycle()).map(|(a, b)| op(*a, *b)));
    }
}

fn floats1(scalar: Scalar, words: &[u32], out: &mut Vec<u32>, op: impl Fn(f32) -> f32) {
    match scalar.width {
        2 => map1(words, out, |word| narrow(op(widen(word)))),
        _ => map1(words, out, |word| op(f32::from_bits(word)).to_bits()),
    }
}

fn floats2(
    scalar: Scalar,
    words: [&[u32]; 2],
    lanes: usize,
    out: &mut Vec<u32>,
    op: impl Fn(f32, f32) -> f32,
) {
    match scalar.width {
        2 => map2(words, lanes, out, |a, b| narrow(op(widen(a), widen(b)))),
        _ => map2(words, lanes, out, |a, b| op(f32::from_bits(a), f32::from_bits(b)).to_bits()),
    }
}

fn floats3(scalar: Scalar, [a, b, c]: [&[u32]; 3], out: &mut Vec<u32>, op: impl Fn(f32, f32, f32) -> f32) {
    let of = |word| if scalar.width == 2 { widen(word) } else { f32::from_bits(word) };
    let to = |x: f32| if scalar.width == 2 { narrow(x) } else { x.to_bits() };
    out.extend(a.iter().zip(b).zip(c).map(|((a, b), c)| to(op(of(*a), of(*b), of(*c)))));
}

pub(super) fn unary(op: UnaryOperator, scalar: Scalar, words: &[u32], out: &mut Vec<u32>) {
    match (op, scalar.kind) {
        (UnaryOperator::Negate, ScalarKind::Float) => floats1(scalar, words, out, |x| -x),
        (UnaryOperator::Negate, _) => map1(words, out, u32::wrapping_neg),
        (UnaryOperator::LogicalNot, _) => map1(words, out, |word| u32::from(word == 0)),
        (UnaryOperator::BitwiseNot, _) => map1(words, out, |word| !word),
    }
}

pub(super) fn binary(
    op: BinaryOperator,
    scalar: Scalar,
    words: [&[u32]; 2],
    lanes: usize,
    out: &mut Vec<u32>,
) {
    match scalar.kind {
        ScalarKind::Float => binary_float(op, scalar, words, lanes, out),
        ScalarKind::Sint => binary_signed(op, words, lanes, out),
        _ => binary_unsigned(op, words, lanes, out),
    }
}

fn binary_float(op: BinaryOperator, scalar: Scalar, words: [&[u32]; 2], lanes: usize, out: &mut Vec<u32>) {
    use BinaryOperator as Op;
    let holds = |test: fn(&f32, &f32) -> bool, out: &mut Vec<u32>| {
        let of = |word| if scalar.width == 2 { widen(word) } else { f32::from_bits(word) };
        map2(words, lanes, out, |a, b| u32::from(test(&of(a), &of(b))));
    };
    match op {
        Op::Add => floats2(scalar, words, lanes, out, |a, b| a + b),
        Op::Subtract => floats2(scalar, words, lanes, out, |a, b| a - b),
        Op::Multiply => floats2(scalar, words, lanes, out, |a, b| a * b),
        Op::Divide => floats2(scalar, words, lanes, out, |a, b| a / b),
        Op::Modulo => floats2(scalar, words, lanes, out, |a, b| a % b),
        Op::Equal => holds(f32::eq, out),
        Op::NotEqual => holds(f32::ne, out),
        Op::Less => holds(f32::lt, out),
        Op::LessEqual => holds(f32::le, out),
        Op::Greater => holds(f32::gt, out),
        Op::GreaterEqual => holds(f32::ge, out),
        other => panic!("{other:?} of floats is not interpreted"),
    }
}

fn binary_signed(op: BinaryOperator, words: [&[u32]; 2], lanes: usize, out: &mut Vec<u32>) {
    use BinaryOperator as Op;
    let holds = |test: fn(&i32, &i32) -> bool, out: &mut Vec<u32>| {
        map2(words, lanes, out, |a, b| u32::from(test(&(a as i32), &(b as i32))));
    };
    let signed = |of: fn(i32, i32) -> i32, out: &mut Vec<u32>| {
        map2(words, lanes, out, |a, b| of(a as i32, b as i32) as u32);
    };
    match op {
        Op::Divide => signed(|a, b| if b == 0 { a } else { a.wrapping_div(b) }, out),
        Op::Modulo => signed(|a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }, out),
        Op::Less => holds(i32::lt, out),
        Op::LessEqual => holds(i32::le, out),
        Op::Greater => holds(i32::gt, out),
        Op::GreaterEqual => holds(i32::ge, out),
        Op::ShiftRight => map2(words, lanes, out, |a, b| (a as i32).wrapping_shr(b) as u32),
        // The rest is as without a sign.
        _ => binary_unsigned(op, words, lanes, out),
    }
}

fn binary_unsigned(op: BinaryOperator, words: [&[u32]; 2], lanes: usize, out: &mut Vec<u32>) {
    use BinaryOperator as Op;
    match op {
        Op::Add => map2(words, lanes, out, u32::wrapping_add),
        Op::Subtract => map2(words, lanes, out, u32::wrapping_sub),
        Op::Multiply => map2(words, lanes, out, u32::wrapping_mul),
        Op::Divide => map2(words, lanes, out, |a, b| a.checked_div(b).unwrap_or(a)),
        Op::Modulo => map2(words, lanes, out, |a, b| a.checked_rem(b).unwrap_or(0)),
        Op::Equal => map2(words, lanes, out, |a, b| u32::from(a == b)),
        Op::NotEqual => map2(words, lanes, out, |a, b| u32::from(a != b)),
        Op::Less => map2(words, lanes, out, |a, b| u32::from(a < b)),
        Op::LessEqual => map2(words, lanes, out, |a, b| u32::from(a <= b)),
        Op::Greater => map2(words, lanes, out, |a, b| u32::from(a > b)),
        Op::GreaterEqual => map2(words, lanes, out, |a, b| u32::from(a >= b)),
        Op::And | Op::LogicalAnd => map2(words, lanes, out, |a, b| a & b),
        Op::InclusiveOr | Op::LogicalOr => map2(words, lanes, out, |a, b| a | b),
        Op::ExclusiveOr => map2(words, lanes, out, |a, b| a ^ b),
        Op::ShiftLeft => map2(words, lanes, out, u32::wrapping_shl),
        Op::ShiftRight => map2(words, lanes, out, u32::wrapping_shr),
    }
}

/// A function of `WGSL`, of as many arguments as it has.
pub(super) fn math(fun: MathFunction, scalar: Scalar, words: &[&[u32]], out: &mut Vec<u32>) {
    use MathFunction as Fun;
    // Both have the same size.
    let lanes = words[0].len();
    let is_float = scalar.kind == ScalarKind::Float;
    match fun {
        Fun::Unpack2x16float => {
            // Denormals may be flushed.
            let flushed = |word: u32| if word & 0x7c00 == 0 { word & 0x8000 } else { word };
            map1(words[0], out, |word| widen(flushed(word)).to_bits());
            map1(words[0], out, |word| widen(flushed(word >> 16)).to_bits());
        }
        Fun::Abs => floats1(scalar, words[0], out, f32::abs),
        Fun::Sign => floats1(scalar, words[0], out, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        Fun::Exp => floats1(scalar, words[0], out, f32::exp),
        Fun::Exp2 => floats1(scalar, words[0], out, f32::exp2),
        Fun::Sqrt => floats1(scalar, words[0], out, f32::sqrt),
        Fun::InverseSqrt => floats1(scalar, words[0], out, |x| 1.0 / x.sqrt()),
        Fun::Fma => floats3(scalar, [words[0], words[1], words[2]], out, f32::mul_add),
        Fun::Min | Fun::Max if is_float => {
            let of = if fun == Fun::Min { f32::min } else { f32::max };
            floats2(scalar, [words[0], words[1]], lanes, out, of);
        }
        Fun::Min | Fun::Max => {
            // With the highest bit inverted, signed numbers have the order of unsigned ones.
            let high = if scalar.kind == ScalarKind::Sint { 1 << 31 } else { 0 };
            let is_min = fun == Fun::Min;
            map2([words[0], words[1]], lanes, out, |a, b| {
                let (x, y) = (a ^ high, b ^ high);
                (if is_min { x.min(y) } else { x.max(y) }) ^ high
            });
        }
        Fun::Clamp => {
            let mut least = Vec::new();
            math(Fun::Max, scalar, &words[..2], &mut least);
            math(Fun::Min, scalar, &[&least, words[2]], out);
        }
        other => panic!("{other:?} is not interpreted"),
    }
    assert!(!matches!(fun, Fun::Abs | Fun::Sign) || is_float, "{fun:?} of integers is not interpreted");
}

/// A conversion to a kind of so many bytes, or, without them, the same bits.
pub(super) fn convert(
    from: Scalar,
    (kind, width): (ScalarKind, Option<u8>),
    words: &[u32],
    out: &mut Vec<u32>,
) {
    let Some(width) = width else {
        out.extend_from_slice(words);
        return;
    };
    let number = |word: u32| match (from.kind, from.width) {
        (ScalarKind::Float, 2) => f64::from(widen(word)),
        (ScalarKind::Float, _) => f64::from(f32::from_bits(word)),
        (ScalarKind::Sint, _) => f64::from(word as i32),
        _ => f64::from(word),
    };
    match (kind, width) {
        (ScalarKind::Float, _) if kind == from.kind && width == from.width => out.extend_from_slice(words),
        (ScalarKind::Float, 2) => map1(words, out, |word| narrow(number(word) as f32)),
        (ScalarKind::Float, _) => map1(words, out, |word| (number(word) as f32).to_bits()),
        (ScalarKind::Bool, _) => map1(words, out, |word| u32::from(number(word) != 0.0)),
        (ScalarKind::Sint, _) if from.kind == ScalarKind::Float => {
            map1(words, out, |word| number(word) as i32 as u32);
        }
        (ScalarKind::Uint, _) if from.kind == ScalarKind::Float => {
            map1(words, out, |word| number(word) as u32);
        }
        // Integers keep their bits.
        _ => out.extend_from_slice(words),
    }
}
