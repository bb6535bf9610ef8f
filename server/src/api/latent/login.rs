//! `/api/v1/login`

use crate::api::{ClientAddress, JsonBody};
use crate::auth::COOKIE;
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// Seconds that a browser keeps the cookie.
const MAX_AGE: u64 = 30 * 24 * 3600;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    /// The server's key.
    key: String,
}

/// Exchange the key for a cookie
#[utoipa::path(post, path = "/api/v1/login", tag = "server", request_body = LoginRequest, responses(
    (status = 200, description = "The cookie is set", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn login(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    JsonBody(LoginRequest { key }): JsonBody<LoginRequest>,
) -> Result<Response, ApiError> {
    if !state.access.needs_key() {
        return Ok(Json(json!({})).into_response());
    }
    let session = state.access.log_in(client.0, &key)?;
    let cookie = format!("{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={MAX_AGE}");
    let cookie = HeaderValue::from_str(&cookie).map_err(|error| ApiError::failed(error.to_string()))?;
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response())
}
