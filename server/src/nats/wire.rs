//! What fronts and workers write to each other. Every message has the version of its form, and another is refused in words.

use crate::error::ApiError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of all messages. It grows when an older program would misread a newer one's.
pub(super) const SCHEMA: u32 = 3;
/// Bytes of a message at most: what a broker takes unless it is answered otherwise.
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Bytes of what a job does that are in its message; more are an object.
pub(super) const MAX_INLINE_BYTES: usize = 64 << 10;
/// Bytes of a job with its images, and of an image, at most.
pub(super) const MAX_OBJECT_BYTES: usize = 512 << 20;
/// Images of a result at most.
pub(super) const MAX_RESULT_IMAGES: usize = 10_000;
/// Characters of a line for a person at most.
pub(super) const MAX_LINE: usize = 2000;

/// What every message begins with, whatever its version.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// Reads a message.
///
/// # Errors
/// One of another version, or one that is damaged.
pub(super) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(ApiError::failed(format!(
            "{what} has {} bytes, more than {MAX_MESSAGE_BYTES}",
            bytes.len()
        )));
    }
    let damaged = |error: serde_json::Error| ApiError::failed(format!("{what} is damaged: {error}"));
    let Schema { schema } = serde_json::from_slice(bytes).map_err(damaged)?;
    if schema != SCHEMA {
        let line = format!(
            "{what} is of version {schema} of the queue's messages, and this program reads version {SCHEMA}; \
             run the same version of the program everywhere"
        );
        return Err(ApiError::failed(line));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// Whether a message is of another version, which another program may read.
pub(super) fn is_of_other_version(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|Schema { schema }| schema != SCHEMA)
}

/// A message as bytes.
pub(super) fn to_bytes<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("it is plain data")
}

/// Which part of which job of which front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartKey {
    /// The front.
    pub(super) front: String,
    /// The job's number there.
    pub(super) job: u64,
    /// The part's number.
    pub(super) part: usize,
}

impl PartKey {
    /// The last three tokens of a subject.
    pub(super) fn of_subject(subject: &str) -> Option<PartKey> {
        let mut tokens = subject.rsplit('.');
        let part = tokens.next()?.parse().ok()?;
        let job = tokens.next()?.parse().ok()?;
        let front = tokens.next().filter(|front| is_token(front))?.to_owned();
        Some(PartKey { front, job, part })
    }

    pub(super) fn subject(&self, kind: &str) -> String {
        format!("latent.{kind}.{self}")
    }
}

impl std::fmt::Display for PartKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.front, self.job, self.part)
    }
}

/// Whether it can be a part of a subject between two dots.
pub(super) fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)
}

/// A file that a job needs, which a worker has in its own folders or has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NeededFile {
    /// Its name, for a person and for prompts.
    pub(super) name: String,
    /// The SHA-256 of its contents.
    pub(super) sha256: String,
}

/// What a job does: in the message, or an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkBytes {
    /// JSON.
    Inline(String),
    /// The object that has the JSON.
    Object(ObjectRef),
}

/// An object of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ObjectRef {
    pub(super) name: String,
    pub(super) bytes: usize,
    pub(super) sha256: String,
}

/// A part of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JobMessage {
    pub(super) schema: u32,
    /// The command, such as `txt2img`.
    pub(super) verb: String,
    /// The seed of its first image.
    pub(super) seed: Option<u64>,
    /// Steps from one preview to the next; none for 0.
    pub(super) preview_interval: u32,
    /// What it does; in place of paths it has numbers of `files`.
    pub(super) work: WorkBytes,
    /// The files.
    pub(super) files: Vec<NeededFile>,
    /// LoRAs that its prompts name.
    pub(super) named_loras: Vec<NeededFile>,
    /// The contents of the folders of wildcards and of textual inversions, if these are replaced in its prompts: the SHA-256 that
    /// [`super::folder_contents`] describes.
    pub(super) folders: [Option<String>; 2],
}

/// What a worker reports while it draws. It may get lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum WorkerEvent {
    /// It began.
    Started { worker: String },
    /// A part of the model is being read.
    Loading { component: String, read: u64, total: u64 },
    /// Work is done.
    Step {
        stage: String,
        step: usize,
        steps: usize,
        block: Option<usize>,
        blocks: Option<usize>,
        progress: f64,
    },
    /// How the image looks so far: a JPEG in base64.
    Preview { jpeg: String, step: usize },
    /// Something is not as it should be.
    Warning { message: String },
}

/// An event with its version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventMessage {
    pub(super) schema: u32,
    #[serde(flatten)]
    pub(super) event: WorkerEvent,
}

/// An image of a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ResultImage {
    /// What its name has after the job's stem: `-` and its seeds.
    pub(super) suffix: String,
    pub(super) seed: u64,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) object: ObjectRef,
}

/// How a part of a job ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ResultMessage {
    pub(super) schema: u32,
    /// Who drew it.
    pub(super) worker: String,
    /// Milliseconds that it took.
    pub(super) took_ms: u64,
    /// How often it was handed out.
    pub(super) deliveries: u64,
    pub(super) images: Vec<ResultImage>,
    pub(super) warnings: Vec<String>,
    /// Why it failed.
    pub(super) error: Option<ApiError>,
}

impl ResultMessage {
    /// The names of its objects.
    pub(super) fn objects(&self) -> Vec<String> {
        self.images.iter().map(|image| image.object.name.clone()).collect()
    }
}

/// A job that was set aside, in the stream of such jobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeadMessage {
    pub(super) schema: u32,
    pub(super) job: String,
    pub(super) reason: String,
    pub(super) deliveries: u64,
}

/// A worker and what it has, as the bucket of workers has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerInfo {
    /// The version of this form.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// The machine's name.
    #[serde(default)]
    pub machine: String,
    /// What no other start of a worker of this name has.
    #[serde(default)]
    pub instance: String,
    /// The program's version.
    pub version: String,
    /// The instruction set that it draws with.
    pub isa: String,
    /// Its devices.
    pub devices: Vec<String>,
    /// The SHA-256 of the files in its folders, by name.
    pub models: std::collections::BTreeMap<String, String>,
    /// Names of those that are in memory.
    pub loaded: Vec<String>,
    /// Parts of jobs that it draws at this moment.
    pub drawing: Vec<String>,
    /// Parts of jobs that it has drawn.
    pub done: u64,
    /// Seconds since it was heard of, by the clocks of the broker and of this machine; it says nothing of that itself.
    #[serde(default)]
    pub heard_seconds_ago: u64,
}

/// A line for a person without what could steer a terminal, and not too long.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_version_is_refused_in_words() {
        let dead = |schema| {
            to_bytes(&DeadMessage { schema, job: "a.1.0".into(), reason: String::new(), deliveries: 1 })
        };
        assert_eq!(read::<DeadMessage>("the job", &dead(SCHEMA)).unwrap().job, "a.1.0");
        let error = read::<DeadMessage>("the job", &dead(7)).unwrap_err().message;
        assert!(error.starts_with("the job is of version 7 of the queue's messages"), "{error}");
        // What else it has does not matter.
        let error = read::<DeadMessage>("the job", br#"{"schema": 9, "new": []}"#).unwrap_err().message;
        assert!(error.contains("version 9"), "{error}");
        for damaged in [&b"{}"[..], b"", b"{\"schema\": 3}", b"\xff"] {
            assert!(read::<DeadMessage>("it", damaged).unwrap_err().message.starts_with("it is damaged"));
        }
    }

    #[test]
    fn keys_are_read_back_from_subjects() {
        let key = PartKey { front: "a1b2".into(), job: 7, part: 3 };
        assert_eq!(PartKey::of_subject(&key.subject("results")), Some(key.clone()));
        assert_eq!(PartKey::of_subject(&format!("latent.jobs.any.demo.{key}")), Some(key));
        for other in ["", "a.b.c", "latent.results.a.1", "latent.a b.1.2", "1.-1.2"] {
            assert_eq!(PartKey::of_subject(other), None, "{other}");
        }
    }
}
