//! Errors as clients see them: a status, a code for programs and one line for a person.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latent_app::AppError;
use latent_app::job::OPTIONS;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use utoipa::ToSchema;

/// What kind of error it is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// Something in the request.
    BadInput,
    /// A key is needed, or another one.
    Unauthorized,
    /// The request comes from another site, or for another host.
    Forbidden,
    /// There is nothing of that name.
    NotFound,
    /// The address does not know this method.
    MethodNotAllowed,
    /// The job is in a state in which that cannot be done.
    Conflict,
    /// More bytes, pixels or memory than allowed.
    TooLarge,
    /// The client took too long.
    Timeout,
    /// The queue is full; the header `Retry-After` says when to try again.
    QueueFull,
    /// Too many wrong keys; the header `Retry-After` says when to try again.
    TooManyAttempts,
    /// The disk is full.
    DiskFull,
    /// The server is about to stop.
    Unavailable,
    /// Something went wrong while the job ran.
    Failed,
}

impl ErrorCode {
    fn status(self) -> StatusCode {
        match self {
            ErrorCode::BadInput => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Timeout => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::QueueFull | ErrorCode::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What the system says where there is no room for a file, or for so long a one.
const FULL: [ErrorKind; 3] = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];

/// What to do about it.
const MAKE_ROOM: &str = "; make room on the disk, and send the job once more";

/// An error of a request or of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// One line for a person.
    pub message: String,
    /// The option that is wrong, with `_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Seconds after which it is worth trying again.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ApiError,
}

impl ApiError {
    /// An error of a kind with a line for a person.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), field: None, retry_after: None }
    }

    /// Something in the request that cannot be followed.
    #[must_use]
    pub fn bad_input(message: impl Into<String>) -> ApiError {
        ApiError::new(ErrorCode::BadInput, message)
    }

    /// There is nothing of that name.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(ErrorCode::NotFound, message)
    }

    /// Something went wrong on this side.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> ApiError {
        ApiError::new(ErrorCode::Failed, message)
    }

    /// The same about an option.
    #[must_use]
    pub fn at(mut self, field: &str) -> ApiError {
        self.field = Some(field.replace(['-', ' '], "_"));
        self
    }

    /// A failure to read or write a file.
    #[must_use]
    pub fn io(what: &str, error: &std::io::Error) -> ApiError {
        let code = match error.kind() {
            kind if FULL.contains(&kind) => ErrorCode::DiskFull,
            ErrorKind::NotFound => ErrorCode::NotFound,
            _ => ErrorCode::Failed,
        };
        let hint = if code == ErrorCode::DiskFull { MAKE_ROOM } else { "" };
        ApiError::new(code, format!("{what}: {error}{hint}"))
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> ApiError {
        let message = error.to_string();
        match error {
            AppError::RunTime(_) if is_of_full_disk(&message) => {
                ApiError::new(ErrorCode::DiskFull, message + MAKE_ROOM)
            }
            AppError::RunTime(_) => ApiError::failed(message),
            AppError::Interrupted => ApiError::new(ErrorCode::Conflict, "the job was cancelled"),
            _ => match option_of(&message) {
                Some(option) => ApiError::bad_input(message).at(option),
                None => ApiError::bad_input(message),
            },
        }
    }
}

/// Whether a line ends with what the system says of a full disk: the app's errors are lines.
fn is_of_full_disk(line: &str) -> bool {
    let Some((_, number)) = line.rsplit_once("(os error ") else { return false };
    let number = number.trim_end_matches(')').parse();
    number.is_ok_and(|number| FULL.contains(&std::io::Error::from_raw_os_error(number).kind()))
}

/// The option that an error's line begins with.
fn option_of(message: &str) -> Option<&'static str> {
    let name = message.split_once(": ")?.0.replace(' ', "-");
    OPTIONS.iter().map(|option| option.name()).find(|option| *option == name)
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status(), self.retry_after);
        let mut response = (status, Json(ErrorBody { error: self })).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            // The client may still be sending, and is not listened to for long.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"latent\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_option_that_it_is_about() {
        let of = |line: &str| ApiError::from(AppError::BadInput(line.into())).field;
        assert_eq!(of("batch count: 0 is not in 1 to 10000").as_deref(), Some("batch_count"));
        assert_eq!(of("steps: \"many\" is not a whole number").as_deref(), Some("steps"));
        assert_eq!(of("a.safetensors: no such file"), None);
    }
}
