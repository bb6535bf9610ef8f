//! Latent's own API.

mod events;
mod images;
mod info;
mod inspect;
mod jobs;
mod login;
mod metadata;
mod models;
mod status;
mod tokens;
mod view;
mod workers;

pub use view::JobView;

use crate::state::ServerState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Its routes.
#[must_use]
pub fn router() -> OpenApiRouter<ServerState> {
    OpenApiRouter::new()
        .routes(routes!(status::healthz))
        .routes(routes!(status::metrics))
        .routes(routes!(login::login))
        .routes(routes!(info::info))
        .routes(routes!(info::samplers))
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::state, jobs::cancel))
        .routes(routes!(events::of_job))
        .routes(routes!(events::all))
        .routes(routes!(images::list))
        .routes(routes!(images::file, images::remove))
        .routes(routes!(images::thumbnail))
        .routes(routes!(images::metadata))
        .routes(routes!(images::restore))
        .routes(routes!(models::list))
        .routes(routes!(models::inspect))
        .routes(routes!(inspect::inspect))
        .routes(routes!(metadata::read))
        .routes(routes!(tokens::tokens))
        .routes(routes!(workers::list))
}
