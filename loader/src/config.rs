//! Configurations: the small JSON files of a diffusers folder.

use serde_json::{Map, Value};
use std::fmt;

/// A configuration: a JSON object, with access by type.
///
/// Which library parses and writes the JSON is not part of this interface.
///
/// ```
/// use latent_loader::{Config, ConfigValue};
///
/// let mut config = Config::from([("_class_name", "AutoencoderKL".into()), ("scaling_factor", 0.18215.into())]);
/// config.set("block_out_channels", [128usize, 256]);
/// config.set("encoder", ConfigValue::null());
/// assert_eq!(config.get_str("_class_name"), Some("AutoencoderKL"));
/// assert_eq!(config.get_f64("scaling_factor"), Some(0.18215));
/// assert_eq!(config.get_u64("scaling_factor"), None);
/// assert_eq!(
///     config.to_string(),
///     r#"{"_class_name":"AutoencoderKL","block_out_channels":[128,256],"encoder":null,"scaling_factor":0.18215}"#,
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(Map<String, Value>);

impl Config {
    /// Reads a JSON object. The error says what the bytes are instead.
    ///
    /// # Errors
    /// One line: what is wrong with the JSON.
    pub fn parse(bytes: &[u8]) -> Result<Config, String> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Config(map)),
            Ok(_) => Err("is not a configuration: it is not a JSON table".to_owned()),
            Err(error) => Err(format!("is not valid JSON: {error}")),
        }
    }

    /// Sets a key, which replaces its earlier value.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<ConfigValue>) {
        self.0.insert(key.into(), value.into().0);
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The text of a key; `None` if it is not there, or not a text.
    #[must_use]
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// The truth value of a key; `None` if it is not there, or not one.
    #[must_use]
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    /// The number of a key; `None` if it is not there, or not a number.
    #[must_use]
    pub fn get_f64(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    /// The numbers of a key; `None` if it is not there, or not a list of numbers.
    #[must_use]
    pub fn get_f64s(&self, key: &str) -> Option<Vec<f64>> {
        self.0.get(key)?.as_array()?.iter().map(Value::as_f64).collect()
    }

    /// The whole number of a key; `None` if it is not there, or not a whole number of 0 or more.
    #[must_use]
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    /// The numbers of the table under a key, by their own keys; empty if there is no table.
    pub fn numbers(&self, key: &str) -> impl Iterator<Item = (&str, f64)> {
        let table = self.0.get(key).and_then(Value::as_object).into_iter().flatten();
        table.filter_map(|(key, value)| Some((key.as_str(), value.as_f64()?)))
    }

    /// Whether a key has a list with an element that is not `null`: a component of `model_index.json` that is there, as in
    /// `["library", "Class"]`, and not absent, as in `[null, null]`.
    pub(crate) fn lists_component(&self, key: &str) -> bool {
        let list = self.0.get(key).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|part| !part.is_null()))
    }
}

impl<K: Into<String>, const N: usize> From<[(K, ConfigValue); N]> for Config {
    fn from(entries: [(K, ConfigValue); N]) -> Config {
        entries.into_iter().collect()
    }
}

impl<K: Into<String>> FromIterator<(K, ConfigValue)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, ConfigValue)>>(entries: I) -> Config {
        Config(entries.into_iter().map(|(key, value)| (key.into(), value.0)).collect())
    }
}

impl fmt::Display for Config {
    /// Its JSON, with sorted keys: on one line, or with `{:#}` on several, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = if f.alternate() {
            serde_json::to_string_pretty(&self.0)
        } else {
            serde_json::to_string(&self.0)
        };
        // All keys are texts, so it can be written.
        f.write_str(&json.map_err(|_| fmt::Error)?)
    }
}

/// A value of a [`Config`]: `null`, a truth value, a number, a text, or a list of values.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue(Value);

impl ConfigValue {
    /// The value `null`.
    #[must_use]
    pub fn null() -> ConfigValue {
        ConfigValue(Value::Null)
    }
}

/// Conversions from types that JSON has.
macro_rules! config_value_from {
    ($($from:ty),*) => {
        $(impl From<$from> for ConfigValue {
            fn from(value: $from) -> ConfigValue {
                ConfigValue(value.into())
            }
        })*
    };
}

config_value_from!(bool, i32, u32, usize, f64, &str, String);

impl<T: Into<ConfigValue>> From<Vec<T>> for ConfigValue {
    fn from(list: Vec<T>) -> ConfigValue {
        ConfigValue(list.into_iter().map(|value| value.into().0).collect())
    }
}

impl<T: Into<ConfigValue> + Clone> From<&Vec<T>> for ConfigValue {
    fn from(list: &Vec<T>) -> ConfigValue {
        list.clone().into()
    }
}

impl<T: Into<ConfigValue>, const N: usize> From<[T; N]> for ConfigValue {
    fn from(list: [T; N]) -> ConfigValue {
        Vec::from(list).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_are_configurations() {
        let config =
            Config::parse(br#"{"a": 1, "b": "x", "c": true, "d": -0.5, "e": [null, null], "f": ["l", "C"]}"#);
        let config = config.unwrap();
        assert_eq!(
            (config.get_u64("a"), config.get_str("b"), config.get_bool("c")),
            (Some(1), Some("x"), Some(true))
        );
        assert_eq!(
            (config.get_f64("a"), config.get_f64("d"), config.get_u64("d")),
            (Some(1.0), Some(-0.5), None)
        );
        assert_eq!((config.get_str("a"), config.get_bool("z")), (None, None));
        assert_eq!(config.keys().collect::<String>(), "abcdef");
        assert!(config.lists_component("f") && !config.lists_component("e") && !config.lists_component("a"));
        assert_eq!(Config::parse(b"[1]").unwrap_err(), "is not a configuration: it is not a JSON table");
        let tables = Config::parse(br#"{"p": {"b": 2, "a": 0.5, "c": "x"}}"#).unwrap();
        assert_eq!(tables.numbers("p").collect::<Vec<_>>(), [("a", 0.5), ("b", 2.0)]);
        assert_eq!(tables.numbers("q").count(), 0);
        assert!(Config::parse(b"{").unwrap_err().starts_with("is not valid JSON: EOF"));
    }

    #[test]
    fn it_is_written_indented_and_in_order() {
        let mut config = Config::from([("b", ConfigValue::from(0.5)), ("a", vec![[1usize, 2]].into())]);
        config.set("c", ["x"]);
        let pretty = "{\n  \"a\": [\n    [\n      1,\n      2\n    ]\n  ],\n  \"b\": 0.5,\n  \"c\": [\n    \"x\"\n  ]\n}";
        assert_eq!(format!("{config:#}"), pretty);
        assert_eq!(Config::parse(pretty.as_bytes()), Ok(config));
    }
}
