//! The machine, and what is in its memory.

use super::error::{WebuiError, refused};
use crate::api::blocking;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use latent_app::memory;
use serde_json::{Value, json};

/// Ask how the server was started
#[utoipa::path(get, path = "/sdapi/v1/cmd-flags", tag = "a1111", responses(
    (status = 200, description = "Without paths and keys", body = Object),
))]
pub(super) async fn cmd_flags(State(state): State<ServerState>) -> Json<Value> {
    let options = &state.options;
    Json(json!({
        "api": true,
        "nowebui": false,
        "listen": !options.listen.ip().is_loopback(),
        "port": options.listen.port(),
        "api_auth": null,
        "api_server_stop": false,
        "use_cpu": [],
        "medvram": false,
        "lowvram": false,
    }))
}

/// Ask for free memory
#[utoipa::path(get, path = "/sdapi/v1/memory", tag = "a1111", responses(
    (status = 200, description = "Bytes, where the system says so", body = Object),
))]
pub(super) async fn memory() -> Result<Json<Value>, WebuiError> {
    let found = blocking(|| {
        let ram = match (memory::available(), memory::total()) {
            (Some(free), Some(total)) => {
                json!({ "free": free, "used": total.saturating_sub(free), "total": total })
            }
            _ => json!({ "error": "the system does not say" }),
        };
        Ok(json!({ "ram": ram, "cuda": { "error": "unavailable" } }))
    });
    Ok(Json(found.await?))
}

/// Looks at the folders again.
async fn refresh(state: ServerState) -> Result<Json<()>, WebuiError> {
    let looked = blocking(move || {
        state.models.forget();
        state.webui.forget_hashes();
        drop(state.models.list());
        Ok(())
    });
    looked.await?;
    Ok(Json(()))
}

/// Look for models again
#[utoipa::path(post, path = "/sdapi/v1/refresh-checkpoints", tag = "a1111", responses((status = 200, description = "Done")))]
pub(super) async fn refresh_checkpoints(State(state): State<ServerState>) -> Result<Json<()>, WebuiError> {
    refresh(state).await
}

/// Look for LoRAs again
#[utoipa::path(post, path = "/sdapi/v1/refresh-loras", tag = "a1111", responses((status = 200, description = "Done")))]
pub(super) async fn refresh_loras(State(state): State<ServerState>) -> Result<Json<()>, WebuiError> {
    refresh(state).await
}

/// Look for VAEs again
#[utoipa::path(post, path = "/sdapi/v1/refresh-vae", tag = "a1111", responses((status = 200, description = "Done")))]
pub(super) async fn refresh_vae(State(state): State<ServerState>) -> Result<Json<()>, WebuiError> {
    refresh(state).await
}

/// Look for textual inversions again
#[utoipa::path(post, path = "/sdapi/v1/refresh-embeddings", tag = "a1111", responses((status = 200, description = "Done")))]
pub(super) async fn refresh_embeddings(State(state): State<ServerState>) -> Result<Json<()>, WebuiError> {
    refresh(state).await
}

/// Close the models that are in memory
///
/// A device that draws does it after its job. The next job loads what it needs.
#[utoipa::path(post, path = "/sdapi/v1/unload-checkpoint", tag = "a1111", responses((status = 200, description = "They are closed")))]
pub(super) async fn unload(State(state): State<ServerState>) -> Json<Value> {
    state.queue.unload();
    Json(json!({}))
}

/// Do nothing
///
/// The next job loads what it needs.
#[utoipa::path(post, path = "/sdapi/v1/reload-checkpoint", tag = "a1111", responses((status = 200, description = "Nothing has changed")))]
pub(super) async fn reload() -> Json<Value> {
    Json(json!({}))
}

/// Describe an image in words
///
/// This server cannot.
#[utoipa::path(post, path = "/sdapi/v1/interrogate", tag = "a1111", responses(
    (status = 422, description = "Always", body = super::error::WebuiErrorBody),
))]
pub(super) async fn interrogate() -> WebuiError {
    refused("model", "this server has no model that describes images; png-info reads how one was made").into()
}
