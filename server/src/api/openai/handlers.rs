//! `/v1/images`

use super::answer::{ImagesAnswer, images_answer};
use super::error::{OpenAiError, OpenAiErrorBody};
use super::fields::RequestFields;
use super::inputs;
use super::parameters::{AnswerStyle, ImageParameters};
use super::schema::{EditBody, EditForm, GenerationBody, VariationForm};
use super::stream::ImageStream;
use crate::api::{ClientAddress, blocking};
use crate::auth::host;
use crate::error::ApiError;
use crate::queue::{ApiName, JobWait};
use crate::request::JobRequest;
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

/// Who asks, and by which address.
#[derive(Debug)]
struct Asker {
    client: ClientAddress,
    base: String,
}

impl Asker {
    /// Its address is that of the request, which was checked before. A proxy says whether it encrypts.
    fn of(client: ClientAddress, headers: &HeaderMap, uri: &Uri) -> Asker {
        let is_encrypted = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        let scheme = if is_encrypted { "https" } else { "http" };
        Asker { client, base: format!("{scheme}://{}", host(headers, uri).unwrap_or("localhost")) }
    }
}

/// Draw images from words
#[utoipa::path(post, path = "/v1/images/generations", tag = "openai", operation_id = "openai_generate",
    request_body = GenerationBody, responses(
    (status = 200, description = "The images, or events if `stream` is true", content(
        (ImagesAnswer = "application/json"), (String = "text/event-stream"))),
    (status = "4XX", description = "Refused", body = OpenAiErrorBody),
))]
pub(super) async fn generate(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    uri: Uri,
    fields: RequestFields,
) -> Result<Response, OpenAiError> {
    let asker = Asker::of(client, &headers, &uri);
    run(state, asker, move |state| {
        let parameters = ImageParameters::read(fields, "image_generation", true)?;
        let model = parameters.find_model(state)?;
        parameters.into_job("txt2img", model.as_ref())
    })
    .await
}

/// Redraw an image, or a part of it
#[utoipa::path(post, path = "/v1/images/edits", tag = "openai", operation_id = "openai_edit",
    request_body(content((EditForm = "multipart/form-data"), (EditBody = "application/json"))), responses(
    (status = 200, description = "The images, or events if `stream` is true", content(
        (ImagesAnswer = "application/json"), (String = "text/event-stream"))),
    (status = "4XX", description = "Refused", body = OpenAiErrorBody),
))]
pub(super) async fn edit(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    uri: Uri,
    fields: RequestFields,
) -> Result<Response, OpenAiError> {
    redraw(state, Asker::of(client, &headers, &uri), move |state| inputs::edit(state, fields)).await
}

/// Draw images like another one
#[utoipa::path(post, path = "/v1/images/variations", tag = "openai", operation_id = "openai_vary",
    request_body(content = VariationForm, content_type = "multipart/form-data"), responses(
    (status = 200, description = "The images", body = ImagesAnswer),
    (status = "4XX", description = "Refused", body = OpenAiErrorBody),
))]
pub(super) async fn vary(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    uri: Uri,
    fields: RequestFields,
) -> Result<Response, OpenAiError> {
    redraw(state, Asker::of(client, &headers, &uri), move |state| inputs::vary(state, fields)).await
}

/// Makes a job, waits for its end and answers with its images. A client that goes away cancels it.
async fn run(
    state: ServerState,
    asker: Asker,
    make: impl FnOnce(&ServerState) -> Result<(JobRequest, AnswerStyle), ApiError> + Send + 'static,
) -> Result<Response, OpenAiError> {
    let (own, client) = (state.clone(), asker.client.0.to_string());
    let (new, style) = blocking(move || {
        let (request, style) = make(&own)?;
        Ok((own.requests.read(request, ApiName::OpenAi, &client)?, style))
    })
    .await?;
    if style.is_streamed {
        return Ok(ImageStream::start(state, new, style).await?.into_response());
    }
    let record = JobWait::submit(state.queue.clone(), new).await?.ended().await?;
    let answer = blocking(move || images_answer(&state, &record, &style, &asker.base)).await?;
    Ok(Json(answer).into_response())
}

/// The same for a job that begins with images, which are decoded when there is room for them.
async fn redraw(
    state: ServerState,
    asker: Asker,
    make: impl FnOnce(&ServerState) -> Result<(JobRequest, AnswerStyle), ApiError> + Send + 'static,
) -> Result<Response, OpenAiError> {
    let decoding = inputs::decoding().await?;
    run(state, asker, move |state| {
        let _decoding = decoding;
        make(state)
    })
    .await
}
