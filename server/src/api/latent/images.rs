//! `/api/v1/images`

use super::metadata::described;
use crate::api::{JsonBody, PathPart, blocking};
use crate::error::ApiError;
use crate::gallery::{GalleryQuery, ImageInfo};
use crate::queue::ServerEvent;
use crate::state::ServerState;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use utoipa::{IntoParams, ToSchema};

/// Images that are listed unless a limit is given.
const LISTED: usize = 100;
/// Maximum number of images that are listed.
const MAX_LISTED: usize = 1000;
/// Bytes of a file that are sent at once.
const PIECE_BYTES: usize = 128 << 10;

#[derive(Deserialize, IntoParams)]
pub(super) struct ImageListQuery {
    /// Words in the prompts or in the name.
    q: Option<String>,
    /// A part of the model's name.
    model: Option<String>,
    /// The seed.
    #[param(minimum = 0)]
    seed: Option<u64>,
    /// Images to pass over.
    #[param(minimum = 0)]
    offset: Option<usize>,
    /// Maximum number of images.
    #[param(minimum = 0, maximum = 1000)]
    limit: Option<usize>,
}

/// Images, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ImageList {
    images: Vec<Arc<ImageInfo>>,
    /// How many fit in all.
    total: usize,
}

/// List the images in the output folder
#[utoipa::path(get, path = "/api/v1/images", tag = "images", params(ImageListQuery), responses(
    (status = 200, description = "Images, newest first", body = ImageList),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn list(
    State(state): State<ServerState>,
    query: Result<Query<ImageListQuery>, QueryRejection>,
) -> Result<Json<ImageList>, ApiError> {
    let query = crate::api::query(query)?;
    let query = GalleryQuery {
        words: query.q.unwrap_or_default(),
        model: query.model.unwrap_or_default(),
        seed: query.seed,
        offset: query.offset.unwrap_or(0),
        limit: query.limit.unwrap_or(LISTED).min(MAX_LISTED),
    };
    blocking(move || {
        let (images, total) = state.gallery.search(&query);
        Ok(Json(ImageList { images, total }))
    })
    .await
}

/// Fetch an image
///
/// The file as it is, with its metadata.
#[utoipa::path(get, path = "/api/v1/images/{name}", tag = "images", params(("name" = String, Path)), responses(
    (status = 200, description = "The file", content_type = "image/png", body = Vec<u8>),
    (status = 304, description = "It has not changed"),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn file(
    State(state): State<ServerState>,
    PathPart(name): PathPart,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (file, bytes, etag, kind) = blocking(move || {
        let path = state.gallery.path(&name)?;
        let failed = |error| ApiError::io(&name, &error);
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let etag = format!("\"{:x}-{:x}\"", metadata.len(), time.map_or(0, |time| time.as_nanos()));
        Ok((file, metadata.len(), etag, kind(&name)))
    })
    .await?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| ApiError::failed(error.to_string()));
    let common = [(header::ETAG, value(&etag)?), (header::CACHE_CONTROL, value("private, no-cache")?)];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let sent = [(header::CONTENT_TYPE, value(kind)?), (header::CONTENT_LENGTH, value(&bytes.to_string())?)];
    Ok((common, sent, pieces(file)).into_response())
}

/// A file in pieces, so that a slow reader does not keep it in memory.
fn pieces(file: File) -> Body {
    Body::from_stream(unfold(Some(file), |file| async move {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((Bytes::from(piece), file))
        });
        match read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, file)) => Some((Ok(piece), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn kind(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or(String::new(), |(_, extension)| extension.to_lowercase());
    match extension.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        _ => "image/png",
    }
}

/// Fetch a small JPEG of an image
#[utoipa::path(get, path = "/api/v1/images/{name}/thumbnail", tag = "images", params(("name" = String, Path)), responses(
    (status = 200, description = "At most 320 pixels along a side", content_type = "image/jpeg", body = Vec<u8>),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn thumbnail(
    State(state): State<ServerState>,
    PathPart(name): PathPart,
) -> Result<Response, ApiError> {
    let bytes = blocking(move || state.gallery.thumbnail(&name)).await?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "private, max-age=3600")];
    Ok((headers, bytes).into_response())
}

/// Read how an image was made
#[utoipa::path(get, path = "/api/v1/images/{name}/metadata", tag = "images", params(("name" = String, Path)), responses(
    (status = 200, description = "As `POST /api/v1/metadata`", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn metadata(
    State(state): State<ServerState>,
    PathPart(name): PathPart,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let path = state.gallery.path(&name)?;
        let bytes = std::fs::read(path).map_err(|error| ApiError::io(&name, &error))?;
        Ok(Json(described(&state, &name, &bytes)?))
    })
    .await
}

/// What brings an image back.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    undo: String,
}

/// Move an image into the trash
#[utoipa::path(delete, path = "/api/v1/images/{name}", tag = "images", params(("name" = String, Path)), responses(
    (status = 200, description = "What brings it back, for 30 days", body = Undo),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn remove(
    State(state): State<ServerState>,
    PathPart(name): PathPart,
) -> Result<Json<Undo>, ApiError> {
    blocking(move || {
        let undo = state.gallery.remove(&name)?;
        state.queue.publish(ServerEvent::Gallery { added: [].into(), removed: [name].into() });
        Ok(Json(Undo { undo }))
    })
    .await
}

/// Bring an image back
#[utoipa::path(post, path = "/api/v1/images/restore", tag = "images", request_body = Undo, responses(
    (status = 200, description = "The image", body = ImageInfo),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn restore(
    State(state): State<ServerState>,
    JsonBody(Undo { undo }): JsonBody<Undo>,
) -> Result<Json<ImageInfo>, ApiError> {
    blocking(move || {
        let info = state.gallery.restore(&undo)?;
        state.queue.publish(ServerEvent::Gallery { added: [info.name.clone()].into(), removed: [].into() });
        Ok(Json(ImageInfo::clone(&info)))
    })
    .await
}
