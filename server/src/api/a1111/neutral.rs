//! Fields that cannot be followed. A value that changes nothing is taken; any other is refused.

use super::error::refused;
use super::lenient::{bool_of, number_of};
use crate::error::ApiError;
use serde_json::{Map, Value};

/// No schedule begins with more noise.
const MAX_NOISE_LEVEL: f64 = 1e5;

/// Values of a field that change nothing.
#[derive(Clone, Copy)]
enum Neutral {
    /// False, 0, or nothing in it.
    Empty,
    /// True, or 1.
    Set,
    /// One of two numbers.
    Numbers(f64, f64),
    /// 0 or less.
    NotPositive,
}

use Neutral::{Empty, NotPositive, Numbers, Set};

/// Each with what can be done instead.
const FIELDS: [(&str, Neutral, &str); 17] = [
    ("restore_faces", Empty, "faces are not restored; leave it out"),
    ("styles", Empty, "there are no styles; write their words into the prompt"),
    ("seed_resize_from_w", NotPositive, "noise is not resized; give -1"),
    ("seed_resize_from_h", NotPositive, "noise is not resized; give -1"),
    ("s_min_uncond", Numbers(0.0, 0.0), "guidance is not skipped; give 0"),
    ("initial_noise_multiplier", Numbers(1.0, 0.0), "the noise is not scaled; give 1"),
    ("image_noise", NotPositive, "images get no further noise; give 0"),
    ("mask_round", Set, "masks are always rounded; give true"),
    ("latent_mask", Empty, "give the mask as mask"),
    ("firstphase_width", Numbers(0.0, 0.0), "give width, and hr_scale for the second pass"),
    ("firstphase_height", Numbers(0.0, 0.0), "give height, and hr_scale for the second pass"),
    ("token_merging_ratio", Numbers(0.0, 0.0), "tokens are not merged; give 0"),
    ("token_merging_ratio_hr", Numbers(0.0, 0.0), "tokens are not merged; give 0"),
    ("disable_extra_networks", Empty, "leave out the tags of LoRAs instead"),
    ("script_name", Empty, "this server has no scripts; leave it out"),
    ("infotext", Empty, "give its settings as fields"),
    ("controlnet_units", Empty, "give them in alwayson_scripts"),
];

fn is_neutral(value: &Value, neutral: Neutral) -> bool {
    let is_empty = match value {
        Value::Null => return true,
        Value::String(text) => text.trim().is_empty() || text.trim().eq_ignore_ascii_case("none"),
        Value::Array(values) => values
            .iter()
            .all(|value| value.is_null() || value.as_str().is_some_and(|text| matches!(text, "" | "None"))),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match neutral {
        Empty => is_empty || bool_of(value) == Some(false),
        Set => bool_of(value) == Some(true),
        Numbers(a, b) => number_of(value).is_some_and(|number| number == a || number == b),
        NotPositive => number_of(value).is_some_and(|number| number <= 0.0),
    }
}

/// Whether churn ends above that noise level. Programs that copy the webui's own settings send its infinity as the largest number.
fn is_limit(s_tmax: f64) -> bool {
    s_tmax != 0.0 && s_tmax < MAX_NOISE_LEVEL
}

/// Refuses a request that asks for what cannot be done.
pub(super) fn check(body: &Map<String, Value>) -> Result<(), ApiError> {
    for (name, neutral, advice) in FIELDS {
        if body.get(name).is_some_and(|value| !is_neutral(value, neutral)) {
            return Err(refused(name, advice));
        }
    }
    // They say when there is churn.
    let number = |name: &str| body.get(name).and_then(number_of).unwrap_or(0.0);
    if number("s_churn") != 0.0 {
        for (name, limits) in [("s_tmin", number("s_tmin") != 0.0), ("s_tmax", is_limit(number("s_tmax")))] {
            if limits {
                return Err(refused(name, "churn is not limited to noise levels; give 0"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(body: Value) -> Result<(), String> {
        check(body.as_object().unwrap()).map_err(|error| error.field.unwrap_or_default())
    }

    #[test]
    fn values_that_change_nothing_are_taken() {
        let body = json!({
            "tiling": false, "restore_faces": null, "styles": [], "subseed": 5, "subseed_strength": 0.0, "script_name": "None",
            "seed_resize_from_w": -1, "s_tmax": 5, "s_min_uncond": 0, "mask_round": true, "infotext": "", "latent_mask": null,
            "initial_noise_multiplier": 1.0, "disable_extra_networks": false, "other": { "a": 1 },
        });
        assert_eq!(checked(body), Ok(()));
        assert_eq!(checked(json!({ "s_churn": 3, "s_tmax": 1e308 })), Ok(()));
    }

    #[test]
    fn values_that_would_change_the_image_are_refused_by_name() {
        let cases = [
            json!({ "restore_faces": 1 }),
            json!({ "styles": ["photo"] }),
            json!({ "seed_resize_from_h": 64 }),
            json!({ "script_name": "X/Y/Z plot" }),
            json!({ "infotext": "a\nSteps: 3" }),
            json!({ "mask_round": false }),
            json!({ "s_tmin": 0.5, "s_churn": 1 }),
            json!({ "s_tmax": 10, "s_churn": 1 }),
        ];
        for body in cases {
            let name = body.as_object().unwrap().keys().find(|name| *name != "s_churn").unwrap();
            assert_eq!(checked(body.clone()).as_ref(), Err(name), "{body}");
        }
    }
}
