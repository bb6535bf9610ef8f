//! JSON of image files: read without copies of its texts, and only up to a number of values and a depth.
//!
//! `serde_json::Value` takes hundreds of bytes for a map of one member, so that a file of kilobytes can become gigabytes.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Number;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Maximum number of values in a text. A ComfyUI workflow of 1,000 nodes has some 60,000.
pub(super) const MAX_VALUES: usize = 200_000;
/// Maximum depth of lists and objects in each other.
pub(super) const MAX_DEPTH: usize = 100;

/// A JSON value, which borrows from its text where that has no escapes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Box<[Json<'a>]>),
    Object(JsonObject<'a>),
}

/// Members in the order of their names, of which each is there once: the last of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct JsonObject<'a>(Box<[(Cow<'a, str>, Json<'a>)]>);

impl<'a> JsonObject<'a> {
    /// Members in any order.
    pub(super) fn new(mut members: Vec<(Cow<'a, str>, Json<'a>)>) -> JsonObject<'a> {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        JsonObject(members.into_boxed_slice())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl<'a> Json<'a> {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.as_object()?.get(name)
    }

    pub(super) fn as_object(&self) -> Option<&JsonObject<'a>> {
        if let Json::Object(object) = self { Some(object) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Json<'a>]> {
        if let Json::List(list) = self { Some(list) } else { None }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// A string, a number or a truth value as text.
    pub(super) fn plain(&self) -> Option<Cow<'_, str>> {
        match self {
            Json::Text(text) => Some(Cow::Borrowed(text)),
            Json::Number(number) => Some(Cow::Owned(number.to_string())),
            Json::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            _ => None,
        }
    }

    /// Its number of values, names of members not counted.
    pub(super) fn count(&self) -> usize {
        match self {
            Json::List(list) => 1 + list.iter().map(Json::count).sum::<usize>(),
            Json::Object(object) => 1 + object.0.iter().map(|(_, value)| value.count()).sum::<usize>(),
            _ => 1,
        }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(list) => serializer.collect_seq(list.iter()),
            Json::Object(object) => serializer.collect_map(object.iter()),
        }
    }
}

/// As JSON.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Reads a text that is a JSON object or list; `None` for any other. Python's writer has `NaN` and infinities, which JSON
/// has not: they are null.
///
/// # Errors
/// The rest of a line that begins with the file's name: more values or depth than the bounds here, and what `read` says.
pub(super) fn with_json<T>(
    keyword: &str,
    text: &str,
    read: impl FnOnce(&Json<'_>) -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    if !text.trim_start().starts_with(['{', '[']) {
        return Ok(None);
    }
    let refuse = |bound: JsonBound| match bound {
        JsonBound::Values => format!("has more than {MAX_VALUES} JSON values in its text {keyword:?}"),
        JsonBound::Depth => format!("has JSON more than {MAX_DEPTH} levels deep in its text {keyword:?}"),
    };
    if let Some(json) = parse(text).map_err(refuse)? {
        return read(&json);
    }
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Ok(None);
    }
    let text = without_nan(text);
    parse(&text).map_err(refuse)?.map_or(Ok(None), |json| read(&json))
}

/// What a text has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonBound {
    Values,
    Depth,
}

/// A text as JSON; `None` if it is something else.
fn parse(text: &str) -> Result<Option<Json<'_>>, JsonBound> {
    let (left, exceeded) = (Cell::new(MAX_VALUES), Cell::new(None));
    let mut source = serde_json::Deserializer::from_str(text);
    let json = BoundedValue { left: &left, exceeded: &exceeded, depth: 0 }.deserialize(&mut source);
    if let Some(bound) = exceeded.get() {
        return Err(bound);
    }
    Ok(json.ok().filter(|_| source.end().is_ok()))
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings as `null`.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let word = match bytes[at] {
            b'N' | b'I' | b'-' if !in_string => ["-Infinity", "Infinity", "NaN"]
                .into_iter()
                .find(|word| bytes[at..].starts_with(word.as_bytes())),
            _ => None,
        };
        if let Some(word) = word {
            out.push_str(&text[copied..at]);
            out.push_str("null");
            at += word.len();
            copied = at;
            continue;
        }
        match bytes[at] {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
        at += 1;
    }
    out + &text[copied..]
}

/// Builds a value, and stops where there are too many.
#[derive(Clone, Copy)]
struct BoundedValue<'b> {
    left: &'b Cell<usize>,
    exceeded: &'b Cell<Option<JsonBound>>,
    depth: usize,
}

impl BoundedValue<'_> {
    fn exceed<E: Error>(&self, bound: JsonBound) -> E {
        self.exceeded.set(Some(bound));
        E::custom("too large")
    }

    /// For the values inside of this one.
    fn inner<E: Error>(&self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(BoundedValue { depth: self.depth + 1, ..*self }),
            false => Err(self.exceed(JsonBound::Depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for BoundedValue<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Json<'de>, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(self.exceed(JsonBound::Values)),
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BoundedValue<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Json::List(values.into_boxed_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(MemberName)? {
            members.push((name, map.next_value_seed(inner)?));
        }
        Ok(Json::Object(JsonObject::new(members)))
    }
}

/// The name of a member.
struct MemberName;

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Cow<'de, str>, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        with_json("a", text, |json| Ok(Some(json.to_string()))).unwrap()
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it() {
        for text in [
            r#"{"b":[1,-2,0.5,1e9,null,true],"a":"x\n\u00e9","é":{}}"#,
            r#"[{"a":1,"b":2,"a":3}, 18446744073709551615, 1.0]"#,
            " [ ] ",
        ] {
            let want = serde_json::from_str::<serde_json::Value>(text).unwrap().to_string();
            assert_eq!(shown(text), Some(want));
        }
        for text in ["", "a", "3", "\"a\"", "{", "[1] x", "[1e999]", "{1:2}", "[a|b] cat"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn python_s_numbers_are_null() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "NaN \" Infinity": "NaN"}"#;
        assert_eq!(shown(text).unwrap(), r#"{"NaN \" Infinity":"NaN","a":null,"b":[null,null]}"#);
        assert_eq!(shown("{NaN}"), None);
    }

    #[test]
    fn values_and_depth_are_bounded() {
        let refused = |text: &str| with_json("prompt", text, |_| Ok(Some(()))).unwrap_err();
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
        assert_eq!(with_json("a", &list(MAX_VALUES), |json| Ok(Some(json.count()))), Ok(Some(MAX_VALUES)));
        assert_eq!(refused(&list(MAX_VALUES + 1)), "has more than 200000 JSON values in its text \"prompt\"");
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(with_json("a", &deep(MAX_DEPTH), |_| Ok(Some(()))).unwrap().is_some());
        assert_eq!(
            refused(&deep(MAX_DEPTH + 1)),
            "has JSON more than 100 levels deep in its text \"prompt\""
        );
        refused(&"{\"a\":".repeat(100_000));
    }
}
