//! Bodies of requests, with a maximum of bytes and of time.

use crate::error::{ApiError, ErrorCode};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Maximum size of a body of JSON: images are in it.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Bytes of all bodies that are being received, in units of [`UNIT_BYTES`].
static ROOM: Semaphore = Semaphore::const_new(256);
/// Bytes of a body that take one unit of the room. Smaller bodies take none.
const UNIT_BYTES: usize = 1 << 20;
/// Time between two pieces of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// The bytes of a body, at most `max_bytes`.
///
/// # Errors
/// [`ErrorCode::TooLarge`], [`ErrorCode::Timeout`], or a client that goes away.
pub async fn body_bytes(mut body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    let end = Instant::now() + BODY_TIMEOUT;
    let (mut bytes, mut room) = (Vec::new(), Vec::new());
    loop {
        let piece = timeout_at(end.min(Instant::now() + PIECE_TIMEOUT), body.frame()).await;
        let piece = piece.map_err(|_| ApiError::new(ErrorCode::Timeout, "the body did not come in time"))?;
        let Some(frame) = piece else { return Ok(bytes.into()) };
        let frame = frame.map_err(|error| ApiError::bad_input(format!("the body ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        bytes.extend_from_slice(&data);
        while room.len() < bytes.len() / UNIT_BYTES {
            room.push(ROOM.try_acquire().map_err(|_| busy())?);
        }
    }
}

fn busy() -> ApiError {
    let mut error = ApiError::new(ErrorCode::QueueFull, "too many large bodies are being received");
    error.retry_after = Some(5);
    error
}

fn too_large(max_bytes: usize) -> ApiError {
    let mib = max_bytes >> 20;
    ApiError::new(ErrorCode::TooLarge, format!("the body has more than the maximum of {mib} MiB"))
}

/// Refuses a body whose length is known to be too large before it is sent.
///
/// # Errors
/// [`ErrorCode::TooLarge`].
pub(super) fn check_length(request: &Request, max_bytes: usize) -> Result<(), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let is_too_large =
        length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|n| n > max_bytes as u64);
    if is_too_large { Err(too_large(max_bytes)) } else { Ok(()) }
}

/// A body of JSON.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>, ApiError> {
        check_length(&request, MAX_BODY_BYTES)?;
        let bytes = body_bytes(request.into_body(), MAX_BODY_BYTES).await?;
        let read = serde_json::from_slice(&bytes);
        read.map(JsonBody)
            .map_err(|error| ApiError::bad_input(format!("the body is not as expected: {error}")))
    }
}

/// A part of an address, such as a name.
#[derive(Debug)]
pub struct PathPart(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathPart, ApiError> {
        let part = Path::<String>::from_request_parts(parts, state).await;
        part.map(|Path(part)| PathPart(part))
            .map_err(|_| ApiError::not_found("there is nothing of that name"))
    }
}
