//! Inputs and images in the broker's object store.
//!
//! Objects are stored in the form of NATS's own clients. They are written here, and not by the client, because chunks must be no
//! larger than this broker takes, and because what was stored of an object that found no room must go again.

use super::broker::{Broker, OBJECTS};
use super::wire::{MAX_OBJECT_BYTES, ObjectRef};
use crate::error::ApiError;
use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::object_store;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use latent_app::hash;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;

/// Bytes of a chunk, where the broker takes so many.
const CHUNK_BYTES: usize = 128 << 10;

impl Broker {
    /// Stores an object.
    pub(super) async fn put_object(&self, name: String, bytes: &[u8]) -> Result<ObjectRef, ApiError> {
        let object = ObjectRef { name, bytes: bytes.len(), sha256: hash::of_bytes(bytes) };
        // A front that was started again must not replace what a worker is reading.
        if self.get_object(&object).await.is_ok() {
            return Ok(object);
        }
        let old = self.objects.info(&object.name).await.ok().map(|info| info.nuid);
        let id = self.client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned();
        let stored = self.store(&object, &id, bytes).await;
        let unused = if stored.is_ok() { old } else { Some(id) };
        if let Some(id) = unused.filter(|id| !id.is_empty()) {
            // What cannot be removed now ends with its age.
            let _ = self.chunks.purge().filter(chunk_subject(&id)).await;
        }
        stored.map_err(|error| self.not_stored("an image cannot be stored", &error))?;
        Ok(object)
    }

    /// Stores chunks, and then what says where they are.
    async fn store(&self, object: &ObjectRef, id: &str, bytes: &[u8]) -> Result<(), PublishError> {
        let size = CHUNK_BYTES.min(self.client.max_payload()).max(1);
        for chunk in bytes.chunks(size) {
            let sent = self.context.publish(chunk_subject(id), chunk.to_vec().into()).await?;
            sent.await?;
        }
        let about = json!({
            "name": object.name,
            "bucket": OBJECTS,
            "nuid": id,
            "size": bytes.len(),
            "chunks": bytes.len().div_ceil(size),
            "digest": format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(bytes))),
            "mtime": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "options": { "max_chunk_size": size },
        });
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let subject = info_subject(&object.name);
        let sent = self.context.publish_with_headers(subject, headers, about.to_string().into()).await?;
        sent.await.map(drop)
    }

    /// Reads an object, whose length and digest must be those that were announced.
    pub(super) async fn get_object(&self, wanted: &ObjectRef) -> Result<Vec<u8>, ApiError> {
        let about = |line: String| ApiError::failed(format!("{}: {line}", wanted.name));
        if wanted.bytes > MAX_OBJECT_BYTES {
            return Err(about(format!("has {} bytes, more than {MAX_OBJECT_BYTES}", wanted.bytes)));
        }
        let read = async {
            let opened = self.objects.get(&wanted.name).await;
            let object = opened.map_err(|error| match error.kind() {
                object_store::GetErrorKind::NotFound => about("is not in the object store any more".into()),
                _ => self.failed("an object cannot be read", &error),
            })?;
            if object.info().size != wanted.bytes {
                return Err(damaged(wanted));
            }
            let mut bytes = Vec::with_capacity(wanted.bytes);
            let mut limited = object.take(wanted.bytes as u64 + 1);
            match limited.read_to_end(&mut bytes).await {
                Ok(_) if bytes.len() == wanted.bytes && hash::of_bytes(&bytes) == wanted.sha256 => Ok(bytes),
                Err(error) if error.kind() != std::io::ErrorKind::InvalidData => {
                    Err(self.failed("an object cannot be read", &error))
                }
                _ => Err(damaged(wanted)),
            }
        };
        // A chunk that is gone would be waited for, for ever.
        let time = Duration::from_secs(30) + Duration::from_millis(wanted.bytes as u64 >> 10);
        let read = tokio::time::timeout(time, read).await;
        read.unwrap_or_else(|_| Err(about("is not complete in the object store".into())))
    }

    /// Removes objects. Those that are gone are no error; the others go with their age. Nothing is stored for it, as the client
    /// would, so that this is how a broker without room gets some.
    pub(super) async fn remove_objects(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            let Ok(info) = self.objects.info(&name).await else { continue };
            for subject in [chunk_subject(&info.nuid), info_subject(&name)] {
                let _ = self.chunks.purge().filter(subject).await;
            }
        }
    }
}

fn chunk_subject(id: &str) -> String {
    format!("$O.{OBJECTS}.C.{id}")
}

fn info_subject(name: &str) -> String {
    format!("$O.{OBJECTS}.M.{}", URL_SAFE.encode(name))
}

fn damaged(wanted: &ObjectRef) -> ApiError {
    let line = "what was sent is damaged: its length or its SHA-256 is another than was announced; send the job once more";
    ApiError::failed(format!("{}: {line}", wanted.name))
}
