//! `alwayson_scripts`: ControlNet, and others that are asked for nothing.

use super::error::refused;
use super::lenient::bool_of;
use crate::error::ApiError;
use serde_json::{Map, Value};

const FIELD: &str = "alwayson_scripts";

/// The units of ControlNet that are enabled. Any other script must be asked for nothing.
pub(super) fn control_units(
    scripts: Option<&Map<String, Value>>,
) -> Result<Vec<Map<String, Value>>, ApiError> {
    let mut units = Vec::new();
    for (name, script) in scripts.into_iter().flatten() {
        let args = script.get("args").unwrap_or(script);
        if !name.eq_ignore_ascii_case("controlnet") {
            if is_idle(args) {
                continue;
            }
            return Err(refused(FIELD, &format!("this server has no script {name:?}; leave it out")));
        }
        match args {
            Value::Null => {}
            Value::Array(args) => {
                for unit in args.iter().filter(|unit| !unit.is_null()) {
                    let unit = unit
                        .as_object()
                        .ok_or_else(|| refused(FIELD, "a unit of ControlNet is not an object"))?;
                    if unit.get("enabled").and_then(bool_of).unwrap_or(true) {
                        units.push(unit.clone());
                    }
                }
            }
            Value::Object(unit) if unit.is_empty() => {}
            _ => return Err(refused(FIELD, "args of ControlNet are not a list")),
        }
    }
    Ok(units)
}

/// Whether a script with these arguments does nothing.
fn is_idle(args: &Value) -> bool {
    match args {
        Value::Null | Value::Bool(false) => true,
        Value::Array(args) => {
            let is_off = args.first().is_none_or(|first| bool_of(first) == Some(false));
            let mut units = args.iter().filter(|arg| arg.is_object()).peekable();
            is_off || (units.peek().is_some() && units.all(is_idle))
        }
        Value::Object(unit) => {
            let is_off = |name: &str| unit.get(name).is_some_and(|value| bool_of(value) == Some(false));
            let has_no_model =
                unit.get("ad_model").and_then(Value::as_str).is_some_and(|model| model == "None");
            unit.is_empty()
                || has_no_model
                || ["enable", "enabled", "is_enabled", "ad_tab_enable"].into_iter().any(is_off)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scripts_that_do_nothing_are_passed_over_and_others_are_refused() {
        let idle = json!({
            "ADetailer": { "args": [false] }, "animatediff": { "args": [{ "enable": false }] }, "other": { "args": [] },
            "adetailer": { "args": [true, { "ad_model": "None" }] }, "empty": {}, "ControlNet": { "args": [] },
        });
        assert_eq!(control_units(idle.as_object()).unwrap(), Vec::new());
        for busy in [
            json!({ "ADetailer": { "args": [true, true, { "ad_model": "face_yolov8n.pt" }] } }),
            json!({ "roop": { "args": ["iVBOR", true] } }),
            json!({ "controlnet": { "args": "canny" } }),
        ] {
            assert_eq!(control_units(busy.as_object()).unwrap_err().field.as_deref(), Some(FIELD), "{busy}");
        }
    }

    #[test]
    fn units_that_are_not_enabled_are_passed_over() {
        let scripts = json!({ "controlnet": { "args": [{ "enabled": false }, { "model": "a" }, null] } });
        assert_eq!(control_units(scripts.as_object()).unwrap().len(), 1);
    }
}
