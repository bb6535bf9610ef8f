//! `/sdapi/v1/txt2img` and `/sdapi/v1/img2img`

use super::answer::{self, DrawnFile, WebuiImages};
use super::error::{OF_DRAWING, WebuiError, renamed};
use super::request::{self, WebuiRequest};
use super::{fields, settings};
use crate::api::{ClientAddress, JsonBody, blocking};
use crate::error::ApiError;
use crate::queue::{ApiName, JobPhase, JobWait};
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Map, Value};

/// Draw images from words
///
/// The answer comes when they are drawn. A client that goes away cancels them.
#[utoipa::path(post, path = "/sdapi/v1/txt2img", tag = "a1111", request_body = WebuiRequest, responses(
    (status = 200, description = "The images", body = WebuiImages),
    (status = 422, description = "A field that cannot be followed", body = super::error::WebuiErrorBody),
    (status = 429, description = "The queue is full", body = super::error::WebuiErrorBody),
))]
pub(super) async fn txt2img(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<WebuiImages>, WebuiError> {
    draw(state, client, body?.0, false).await
}

/// Draw an image anew, or a part of it
///
/// With `mask` the part that is white in it.
#[utoipa::path(post, path = "/sdapi/v1/img2img", tag = "a1111", request_body = WebuiRequest, responses(
    (status = 200, description = "The images", body = WebuiImages),
    (status = 422, description = "A field that cannot be followed", body = super::error::WebuiErrorBody),
    (status = 429, description = "The queue is full", body = super::error::WebuiErrorBody),
))]
pub(super) async fn img2img(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<WebuiImages>, WebuiError> {
    draw(state, client, body?.0, true).await
}

async fn draw(
    state: ServerState,
    client: ClientAddress,
    body: Map<String, Value>,
    is_img2img: bool,
) -> Result<Json<WebuiImages>, WebuiError> {
    let own = state.clone();
    let (new, echo, sends_images) = blocking(move || {
        let request: WebuiRequest = request::read(&body)?;
        let job = fields::job(&own, &request, &body, is_img2img)?;
        let new = own.requests.read(job, ApiName::A1111, &client.0.to_string());
        let new = new.map_err(|error| renamed(error, OF_DRAWING))?;
        let is_kept = request.override_settings_restore_afterwards.is_some_and(|restores| !restores.0);
        if let Some(overrides) = request.override_settings.as_ref().filter(|_| is_kept) {
            own.webui.change(|settings| settings::apply(&own, settings, overrides))?;
        }
        let keeps_images = request.include_init_images.is_some_and(|keeps| keeps.0);
        let sends_images = request.send_images.is_none_or(|sends| sends.0);
        Ok((new, fields::echo(&body, keeps_images), sends_images))
    })
    .await?;
    let record = JobWait::submit(state.queue.clone(), new).await?.ended().await?;
    if record.phase == JobPhase::Failed {
        let unknown = || ApiError::failed("the job failed");
        return Err(renamed(record.error.unwrap_or_else(unknown), OF_DRAWING).into());
    }
    // One that was interrupted has the images that were complete by then.
    let drawn = move || {
        let images = record.images.iter().filter_map(|name| DrawnFile::read(&state, name).ok());
        let images: Vec<DrawnFile> = images.collect();
        answer::note_hash(&state, &images);
        let is_inpainting = state
            .models
            .info(&record.model)
            .is_ok_and(|model| model.variant.as_deref() == Some("inpainting"));
        let mut info = answer::info(&record, &images, &echo);
        info["is_using_inpainting_conditioning"] = is_inpainting.into();
        Ok(answer::of(&images, info, echo, sends_images))
    };
    Ok(Json(blocking(drawn).await?))
}
