//! The fields of a request: those of a JSON object, or of a form with files.

use super::error::OpenAiError;
use crate::api::blocking;
use crate::api::body::{MAX_BODY_BYTES, body_bytes, check_length};
use crate::error::{ApiError, ErrorCode};
use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::header;
use serde_json::{Map, Value};

/// Maximum number of fields of a form.
const MAX_FIELDS: usize = 100;
/// Maximum size of a field without a file. A prompt has at most 64 KiB.
const MAX_TEXT_BYTES: usize = 128 << 10;
/// Maximum number of letters of a field's name.
const MAX_NAME_BYTES: usize = 200;

/// A file of a form. Its name is never a path.
#[derive(Clone, Debug)]
pub(super) struct UploadedFile {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// The fields of a request that are still to be used.
#[derive(Debug, Default)]
pub(super) struct RequestFields {
    values: Map<String, Value>,
    files: Vec<(String, UploadedFile)>,
}

impl<S: Send + Sync> FromRequest<S> for RequestFields {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, state: &S) -> Result<RequestFields, OpenAiError> {
        check_length(&request, MAX_BODY_BYTES)?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_form = kind
            .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
        let (parts, body) = request.into_parts();
        let bytes = body_bytes(body, MAX_BODY_BYTES).await?;
        if !is_form {
            // Images in it take a while.
            return Ok(blocking(move || json_fields(&bytes)).await?);
        }
        let mut request = Request::from_parts(parts, Body::from(bytes));
        // The whole body is here, and has been measured.
        DefaultBodyLimit::disable().apply(&mut request);
        let form = Multipart::from_request(request, state).await;
        Ok(form_fields(form.map_err(|error| ApiError::bad_input(error.body_text()))?).await?)
    }
}

fn json_fields(bytes: &[u8]) -> Result<RequestFields, ApiError> {
    let values = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_input(format!("the body is not as expected: {error}")))?;
    Ok(RequestFields { values, files: Vec::new() })
}

fn damaged(error: &MultipartError) -> ApiError {
    ApiError::bad_input(format!("the form is damaged: {}", error.body_text()))
}

async fn form_fields(mut form: Multipart) -> Result<RequestFields, ApiError> {
    let mut fields = RequestFields::default();
    let mut count = 0;
    while let Some(field) = form.next_field().await.map_err(|error| damaged(&error))? {
        count += 1;
        if count > MAX_FIELDS {
            let line = format!("the form has more than the maximum of {MAX_FIELDS} fields");
            return Err(ApiError::new(ErrorCode::TooLarge, line));
        }
        fields.add(field).await?;
    }
    Ok(fields)
}

impl RequestFields {
    async fn add(&mut self, field: Field<'_>) -> Result<(), ApiError> {
        // `image[]` is how some clients write a list.
        let name = field.name().unwrap_or_default().trim_end_matches("[]").to_owned();
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(ApiError::bad_input("the form has a field without a name, or with a very long one"));
        }
        let file_name = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|error| damaged(&error))?;
        if let Some(file_name) = file_name {
            self.files.push((name, UploadedFile { name: file_name, bytes }));
            return Ok(());
        }
        if bytes.len() > MAX_TEXT_BYTES {
            let line = format!("{name}: has more than the maximum of {} KiB", MAX_TEXT_BYTES >> 10);
            return Err(ApiError::new(ErrorCode::TooLarge, line).at(&name));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| ApiError::bad_input(format!("{name}: is not UTF-8")).at(&name))?;
        let value = Value::from(text);
        match self.values.get_mut(&name) {
            None => {
                self.values.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = vec![first.take(), value].into(),
        }
        Ok(())
    }

    /// Those that are not files, and that were not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.values
    }

    /// The files of a name.
    pub(super) fn files(&mut self, name: &str) -> Vec<UploadedFile> {
        let is_named = |(own, _): &mut (String, UploadedFile)| own == name;
        self.files.extract_if(.., is_named).map(|(_, file)| file).collect()
    }

    /// A field that is given, and not as null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(name, "give a text")),
        }
    }

    /// A text that says something.
    fn word(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// A whole number. Those of a form are texts.
    pub(super) fn whole(&mut self, name: &str, bounds: (u64, u64)) -> Result<Option<u64>, ApiError> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64(),
        };
        let (min, max) = bounds;
        let number = number.filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| bad(name, &format!("give a whole number from {min} to {max}")))
    }

    /// A truth value. Those of a form are texts.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(value) => truth(&value).ok_or_else(|| bad(name, "give true or false")),
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, all: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(word) = self.word(name)? else { return Ok(None) };
        let found = all.iter().find(|(own, _)| *own == word).map(|(_, value)| *value);
        let words: Vec<&str> = all.iter().map(|(own, _)| *own).collect();
        found.map(Some).ok_or_else(|| bad(name, &format!("give one of {}", words.join(", "))))
    }

    /// A size, such as `512x768`; `None` for `auto`.
    pub(super) fn size(&mut self, name: &str) -> Result<Option<(usize, usize)>, ApiError> {
        let Some(word) = self.word(name)?.filter(|word| word != "auto") else { return Ok(None) };
        let sides = word.split_once(['x', 'X']);
        let side = |text: &str| text.parse::<usize>().ok().filter(|side| *side > 0);
        let size = sides.and_then(|(width, height)| side(width).zip(side(height)));
        size.map(Some).ok_or_else(|| bad(name, "give WIDTHxHEIGHT in pixels, such as 512x512, or auto"))
    }
}

/// A truth value of JSON or of a form.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" => Some(true),
            "false" | "0" | "off" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A field that cannot be followed.
pub(super) fn bad(name: &str, line: &str) -> ApiError {
    ApiError::bad_input(format!("{name}: {line}")).at(name)
}
