//! Values as clients of the webui send them: a number may be a text, a truth value a number.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use utoipa::ToSchema;

/// A whole number, also as `20.0` or `"20"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
pub(super) struct LenientInt(pub(super) i64);

/// A number, also as a text.
#[derive(Clone, Copy, Debug, PartialEq, ToSchema)]
pub(super) struct LenientFloat(pub(super) f64);

/// A truth value, also as 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
pub(super) struct LenientBool(pub(super) bool);

/// The number that a value stands for.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// The truth value that a value stands for.
pub(super) fn bool_of(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        value => match number_of(value)? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
    }
}

fn int_of(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    if let Some(whole) = value.as_str().and_then(|text| text.trim().parse().ok()) {
        return Some(whole);
    }
    // Beyond that not every whole number is an f64.
    number_of(value).filter(|number| number.fract() == 0.0 && number.abs() < 9e15).map(|number| number as i64)
}

impl<'de> Deserialize<'de> for LenientInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientInt, D::Error> {
        let value = Value::deserialize(deserializer)?;
        int_of(&value).map(LenientInt).ok_or_else(|| Error::custom("is not a whole number"))
    }
}

impl<'de> Deserialize<'de> for LenientFloat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientFloat, D::Error> {
        let value = Value::deserialize(deserializer)?;
        number_of(&value).map(LenientFloat).ok_or_else(|| Error::custom("is not a number"))
    }
}

impl<'de> Deserialize<'de> for LenientBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientBool, D::Error> {
        let value = Value::deserialize(deserializer)?;
        bool_of(&value).map(LenientBool).ok_or_else(|| Error::custom("is neither true nor false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_truth_values_may_be_written_in_several_ways() {
        for (value, whole) in [(json!(20), Some(20)), (json!(20.0), Some(20)), (json!(" 20"), Some(20))] {
            assert_eq!(int_of(&value), whole, "{value}");
        }
        for wrong in [json!(20.5), json!("many"), json!([1]), json!(null), json!(1e300)] {
            assert_eq!(int_of(&wrong), None, "{wrong}");
        }
        assert_eq!((number_of(&json!("7.5")), number_of(&json!("NaN"))), (Some(7.5), None));
        assert_eq!(
            (bool_of(&json!(1)), bool_of(&json!("False")), bool_of(&json!(2))),
            (Some(true), Some(false), None)
        );
    }
}
