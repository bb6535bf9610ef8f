//! The images of OpenAI's API: `/v1/images/generations`, `/v1/images/edits`, `/v1/images/variations` and `/v1/models`.
//!
//! A request becomes a job of this server, whose end it waits for. Options of Latent's own API are plain fields beside those of
//! OpenAI; what neither knows is ignored.

mod answer;
mod error;
mod fields;
mod handlers;
mod inputs;
mod models;
mod parameters;
mod schema;
mod stream;

pub use error::OpenAiError;

use crate::state::ServerState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Its routes.
#[must_use]
pub fn router() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::generate))
        .routes(routes!(handlers::edit))
        .routes(routes!(handlers::vary))
        .routes(routes!(models::list))
        .routes(routes!(models::model))
}

/// Whether an address is this API's, also where there is nothing.
#[must_use]
pub fn has(path: &str) -> bool {
    path.starts_with("/v1/")
}
