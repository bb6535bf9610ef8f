//! Everything that is answered over HTTP. An API is a folder or file here with a `router`, which `router` below joins.

pub mod a1111;
mod body;
mod gate;
pub mod latent;
pub mod openai;

pub use body::{JsonBody, MAX_BODY_BYTES, PathPart, body_bytes};

use crate::error::{ApiError, ErrorCode};
use crate::page;
use crate::state::ServerState;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use std::net::{IpAddr, Ipv4Addr};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// That of a request.
    #[must_use]
    pub fn of(request: &axum::http::Extensions) -> ClientAddress {
        request.get().copied().unwrap_or(ClientAddress(Ipv4Addr::UNSPECIFIED.into()))
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Latent",
    description = "Draws images with Stable Diffusion. A request becomes a job in a durable queue."
))]
struct Description;

/// All routes.
pub fn router(state: ServerState) -> Router {
    let documented = OpenApiRouter::with_openapi(Description::openapi())
        .merge(latent::router())
        .merge(a1111::router())
        .merge(openai::router());
    let (routes, mut openapi) = documented.split_for_parts();
    openapi.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let openapi = axum::body::Bytes::from(openapi.to_json().unwrap_or_default());
    let kind = [(header::CONTENT_TYPE, "application/json")];
    routes
        .route("/openapi.json", get(move || async move { (kind, openapi) }))
        .fallback(page_or_nothing)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::failed("the program has a fault: this request ended in a panic; please report it")
                .into_response()
        }))
        .layer(middleware::from_fn_with_state(state.clone(), gate::check))
        .with_state(state)
}

async fn page_or_nothing(State(_): State<ServerState>, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || openai::has(request.uri().path()) {
        return refusal(request.uri().path(), ApiError::not_found("there is nothing at this address"));
    }
    page::serve(request.uri().path(), request.headers())
}

async fn method_not_allowed(request: Request) -> Response {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "this address does not know that method");
    refusal(request.uri().path(), error)
}

/// An error in the shape of the API that an address belongs to.
fn refusal(path: &str, error: ApiError) -> Response {
    if openai::has(path) { openai::OpenAiError(error).into_response() } else { error.into_response() }
}

/// Runs what waits for the disk, or computes for a while, where it keeps nobody waiting.
///
/// # Errors
/// Those of the work.
pub async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, ApiError> + Send + 'static,
) -> Result<R, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::failed(error.to_string()))?
}

/// The query of an address, or what is wrong with it.
///
/// # Errors
/// A query that cannot be read.
pub fn query<T>(
    query: Result<axum::extract::Query<T>, axum::extract::rejection::QueryRejection>,
) -> Result<T, ApiError> {
    query.map(|query| query.0).map_err(|error| ApiError::bad_input(error.body_text()))
}
