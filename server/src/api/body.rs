//! Bodies of requests, with a maximum of bytes and of time.

use crate::error::{ApiError, ErrorCode};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Maximum size of a body of JSON: images are in it.
pub const MAX_BODY_BYTES: usize = 64 << 20;
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
    let mut bytes = Vec::new();
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
    }
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
