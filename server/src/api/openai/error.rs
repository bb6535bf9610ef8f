//! Errors as OpenAI's clients read them.

use crate::error::{ApiError, ErrorCode};
use axum::Json;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What OpenAI's clients ask before they send a request once more.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error in the shape of OpenAI's, with the status by which its clients choose their exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiError(pub ApiError);

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenAiErrorBody {
    error: OpenAiErrorDetails,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct OpenAiErrorDetails {
    /// One line for a person.
    message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: &'static str,
    /// The field that is wrong.
    param: Option<String>,
    /// For programs.
    #[schema(example = "invalid_value")]
    code: &'static str,
}

impl OpenAiError {
    /// The body of the answer, or the data of an event.
    pub(super) fn body(&self) -> OpenAiErrorBody {
        let error = &self.0;
        let kind = match error.code {
            ErrorCode::QueueFull | ErrorCode::TooManyAttempts => "rate_limit_error",
            _ if error.status().is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let is_model = error.field.as_deref() == Some("model");
        let code = match error.code {
            ErrorCode::BadInput => "invalid_value",
            ErrorCode::Unauthorized => "invalid_api_key",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::NotFound if is_model => "model_not_found",
            ErrorCode::NotFound => "not_found",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::Conflict => "cancelled",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::Timeout => "timeout",
            ErrorCode::QueueFull | ErrorCode::TooManyAttempts => "rate_limit_exceeded",
            ErrorCode::DiskFull => "disk_full",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Failed => "server_error",
        };
        let (message, param) = (error.message.clone(), error.field.clone());
        OpenAiErrorBody { error: OpenAiErrorDetails { message, kind, param, code } }
    }

    /// Whether the same request may do better later. A job that failed or was cancelled would only be drawn once more.
    fn is_worth_repeating(&self) -> bool {
        matches!(self.0.code, ErrorCode::QueueFull | ErrorCode::Unavailable | ErrorCode::Timeout)
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> OpenAiError {
        OpenAiError(error)
    }
}

impl std::fmt::Display for OpenAiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for OpenAiError {}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let body = Json(self.body()).into_response();
        let should_retry = if self.is_worth_repeating() { "true" } else { "false" };
        // The status and its headers are those of every API.
        let (mut parts, _) = self.0.into_response().into_parts();
        parts.headers.extend(body.headers().clone());
        parts.headers.insert(SHOULD_RETRY, HeaderValue::from_static(should_retry));
        Response::from_parts(parts, body.into_body())
    }
}
