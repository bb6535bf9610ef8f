//! The index of weights that are split over several files ("shards").
//!
//! `NAME.safetensors.index.json`, or of pickles `NAME.bin.index.json`, holds `{"metadata": …, "weight_map": {tensor: file name, …}}`. The file names
//! cannot be trusted: each must name a file right beside the index.

use crate::limits::{MAX_NAME_BYTES, MAX_TENSORS};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Tensor names and the shard of each.
pub(crate) type WeightMap = BTreeMap<String, String>;

/// Parses an index. The error is what is wrong with it.
pub(crate) fn parse_index(bytes: &[u8]) -> Result<WeightMap, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = json.deserialize_map(IndexVisitor).and_then(|map| json.end().map(|()| map));
    match parsed {
        Ok(Some(map)) => Ok(map),
        Ok(None) => Err("is not an index of shards: it has no weight_map".to_owned()),
        Err(error) => Err(format!("is not a valid index of shards: {error}")),
    }
}

/// Whether a name can only mean a file beside the index.
pub(crate) fn is_safe_name(shard: &str) -> bool {
    let harmless = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ':');
    let is_weights = shard.ends_with(".safetensors") || shard.ends_with(".bin");
    is_weights && !shard.starts_with('.') && shard.chars().all(harmless)
}

struct IndexVisitor;

impl<'de> Visitor<'de> for IndexVisitor {
    type Value = Option<WeightMap>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut weights = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if weights.replace(map.next_value_seed(WeightMapSeed)?).is_some() {
                return Err(A::Error::custom("weight_map is given twice"));
            }
        }
        Ok(weights)
    }
}

struct WeightMapSeed;

impl<'de> DeserializeSeed<'de> for WeightMapSeed {
    type Value = WeightMap;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<WeightMap, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMapSeed {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut weights = WeightMap::new();
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if tensor.len() > MAX_NAME_BYTES || shard.len() > MAX_NAME_BYTES {
                return Err(A::Error::custom("a name is too long"));
            }
            if weights.insert(tensor, shard).is_some() {
                return Err(A::Error::custom("a tensor is listed twice"));
            }
            if weights.len() > MAX_TENSORS {
                return Err(A::Error::custom("there are too many tensors"));
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_and_the_rest_of_it_ignored() {
        let index =
            br#"{"metadata":{"total_size":8},"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}"#;
        let map = parse_index(index).unwrap();
        assert_eq!(map.into_iter().collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn bad_indices_are_refused() {
        for (index, problem) in [
            ("{}", "no weight_map"),
            ("[]", "invalid type"),
            ("{\"weight_map\":{\"a\":1}}", "invalid type"),
            ("{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}", "listed twice"),
            ("{\"weight_map\":{},\"weight_map\":{}}", "given twice"),
            ("{\"weight_map\":{}} {}", "trailing"),
            ("{\"weight_map\":", "EOF"),
        ] {
            let message = parse_index(index.as_bytes()).unwrap_err();
            assert!(message.contains(problem), "{index}: {message}");
        }
    }

    #[test]
    fn names_with_a_path_are_not_safe() {
        assert!(is_safe_name("model-00001-of-00002.safetensors"));
        for name in [
            "../x.safetensors",
            "a/x.safetensors",
            "a\\x.safetensors",
            "/etc/x.safetensors",
            "C:x.safetensors",
            "..",
            ".hidden.safetensors",
            "",
            "x.json",
            "x\0.safetensors",
        ] {
            assert!(!is_safe_name(name), "{name:?}");
        }
    }
}
