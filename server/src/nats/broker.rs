//! The broker's streams, objects and buckets.

use super::options::QueueOptions;
use super::wire::PartKey;
use crate::error::{ApiError, ErrorCode};
use crate::lifecycle::ServerLog;
use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{Context, ErrorCode as BrokerErrorCode, kv};
use futures_util::TryStreamExt;
use std::error::Error;
use std::time::Duration;

/// Jobs that wait or are drawn.
const JOBS: &str = "LATENT_JOBS";
/// Ends of jobs that their fronts have not taken.
const RESULTS: &str = "LATENT_RESULTS";
/// Jobs that were set aside.
const DEAD: &str = "LATENT_DEAD";
/// Inputs and images.
pub(super) const OBJECTS: &str = "LATENT_FILES";
/// Workers and what they have.
const WORKERS: &str = "LATENT_WORKERS";
/// How often jobs were given back.
const RETURNS: &str = "LATENT_RETURNS";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a job waits for a worker, and its result for its front, at most.
const MAX_JOB_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long the broker knows a message that is sent once more by its id alone.
const DUPLICATES: Duration = Duration::from_secs(120);
/// Time for an answer of the broker.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a worker counts as there after its last sign of life.
const WORKER_AGE: Duration = Duration::from_secs(30);

/// A queue on a broker.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) client: Client,
    pub(super) context: Context,
    jobs: Stream,
    results: Stream,
    pub(super) dead: Stream,
    pub(super) objects: ObjectStore,
    /// The stream that the object store is.
    pub(super) chunks: Stream,
    pub(super) workers: kv::Store,
    pub(super) returns: kv::Store,
    pub(super) options: QueueOptions,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("url", &self.options.url).finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects, and makes the streams that are not there.
    pub(super) async fn connect(options: QueueOptions, log: ServerLog) -> Result<Broker, ApiError> {
        let client = options.connect(log).await?;
        let context = ContextBuilder::new().timeout(TIMEOUT).ack_timeout(TIMEOUT).build(client.clone());
        let failed = |error: &dyn std::fmt::Display| {
            let line = "the broker has no JetStream for this user, or no room; start it with --jetstream";
            ApiError::failed(format!("{}: {line}: {error}", options.url))
        };
        let stream =
            async |config: Config| context.get_or_create_stream(config).await.map_err(|error| failed(&error));
        let jobs = stream(jobs_config()).await?;
        let results = stream(results_config()).await?;
        let dead = stream(dead_config()).await?;
        let config = object_store::Config { bucket: OBJECTS.into(), max_age: DAY * 3, ..Default::default() };
        let objects = match context.get_object_store(OBJECTS).await {
            Ok(objects) => objects,
            Err(_) => context.create_object_store(config).await.map_err(|error| failed(&error))?,
        };
        let chunks = context.get_stream(format!("OBJ_{OBJECTS}")).await.map_err(|error| failed(&error))?;
        let bucket = async |bucket: &str, max_age| match context.get_key_value(bucket).await {
            Ok(store) => Ok(store),
            Err(_) => {
                context
                    .create_stream(bucket_config(bucket, max_age))
                    .await
                    .map_err(|error| failed(&error))?;
                context.get_key_value(bucket).await.map_err(|error| failed(&error))
            }
        };
        let workers = bucket(WORKERS, WORKER_AGE).await?;
        let returns = bucket(RETURNS, MAX_JOB_AGE).await?;
        Ok(Broker { client, context, jobs, results, dead, objects, chunks, workers, returns, options })
    }

    pub(super) fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> ApiError {
        ApiError::new(ErrorCode::Unavailable, format!("{}: {what}: {error}", self.options.url))
    }

    /// An error of what was to be stored. One that passes is [`ErrorCode::Unavailable`].
    pub(super) fn not_stored(&self, what: &str, error: &(dyn Error + 'static)) -> ApiError {
        let (line, code) = match Obstacle::of(error) {
            Some(Obstacle::TooLarge) => {
                let max = self.client.max_payload();
                let line =
                    format!("it is larger than the broker takes; raise its max_payload of {max} bytes");
                (line, ErrorCode::TooLarge)
            }
            Some(Obstacle::Full) => {
                let line = format!(
                    "the broker has no room left; make room on its disk, or raise its limits: {error}"
                );
                (line, ErrorCode::Unavailable)
            }
            None => (error.to_string(), ErrorCode::Unavailable),
        };
        ApiError::new(code, format!("{}: {what}: {line}", self.options.url))
    }

    /// Whether there is a connection at this moment. Without one, what is sent waits for it in memory.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Sends what may get lost.
    pub(super) async fn send_unkept(&self, subject: String, bytes: Vec<u8>) {
        if self.is_connected() {
            let _ = self.client.publish(subject, bytes.into()).await;
        }
    }

    /// Adds a message that is there once: whether it was not there before.
    pub(super) async fn publish_once(
        &self,
        subject: String,
        id: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, ApiError> {
        let message = PublishMessage::build().payload(bytes.into()).message_id(id);
        let sent = self.context.send_publish(subject, message).await;
        let sent = match sent {
            Ok(sent) => sent.await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(ack) => Ok(!ack.duplicate),
            Err(error) if error.to_string().contains("per subject") => Ok(false),
            Err(error) => Err(self.not_stored("a message cannot be stored", &error)),
        }
    }

    /// Adds a part of a job, unless it is there. `class` and `model` choose the workers.
    pub(super) async fn add_job(
        &self,
        (class, model): (&str, &str),
        key: &PartKey,
        bytes: Vec<u8>,
    ) -> Result<(), ApiError> {
        let subject = format!("latent.jobs.{class}.{model}.{key}");
        self.publish_once(subject.clone(), &format!("job.{key}"), bytes).await?;
        // Whoever is idle looks at once.
        self.send_unkept(format!("latent.wake.{class}.{model}"), Vec::new()).await;
        Ok(())
    }

    /// Removes all parts of a job that are still in the queue, and their results.
    pub(super) async fn remove_job(&self, class: &str, front: &str, job: u64) -> Result<(), ApiError> {
        let of = |error: &dyn std::fmt::Display| self.failed("a job cannot be removed", error);
        let filter = format!("latent.jobs.{class}.*.{front}.{job}.>");
        self.jobs.purge().filter(filter).await.map_err(|error| of(&error))?;
        self.remove_results(front, job).await
    }

    /// Removes the results of a job.
    pub(super) async fn remove_results(&self, front: &str, job: u64) -> Result<(), ApiError> {
        let filter = format!("latent.results.{front}.{job}.>");
        let removed = self.results.purge().filter(filter).await;
        removed.map(drop).map_err(|error| self.failed("a result cannot be removed", &error))
    }

    /// Adds the result of a part: whether it is the first.
    pub(super) async fn add_result(&self, key: &PartKey, bytes: Vec<u8>) -> Result<bool, ApiError> {
        self.publish_once(key.subject("results"), &format!("result.{key}"), bytes).await
    }

    /// The result of a part, if it is there.
    pub(super) async fn result(&self, key: &PartKey) -> Result<Option<Vec<u8>>, ApiError> {
        match self.results.get_last_raw_message_by_subject(&key.subject("results")).await {
            Ok(message) => Ok(Some(message.payload.to_vec())),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.failed("a result cannot be read", &error)),
        }
    }

    /// The parts whose results are there for a front.
    pub(super) async fn result_keys(&self, front: &str) -> Result<Vec<PartKey>, ApiError> {
        let failed = |error: &dyn std::fmt::Display| self.failed("the results cannot be listed", error);
        let filter = format!("latent.results.{front}.>");
        let info = self.results.info_with_subjects(filter).await.map_err(|error| failed(&error))?;
        let subjects: Vec<(String, usize)> = info.try_collect().await.map_err(|error| failed(&error))?;
        Ok(subjects.iter().filter_map(|(subject, _)| PartKey::of_subject(subject)).collect())
    }

    /// Jobs in the queue, those that were set aside, and results that wait for their fronts.
    pub(super) async fn depth(&self) -> Result<[u64; 3], ApiError> {
        let mut depths = [0; 3];
        for (name, depth) in [JOBS, DEAD, RESULTS].iter().zip(&mut depths) {
            let stream = self.context.get_stream(name).await;
            let stream = stream.map_err(|error| self.failed("the queue cannot be counted", &error))?;
            *depth = stream.cached_info().state.messages;
        }
        Ok(depths)
    }

    /// The consumer of a class and a model, which all workers that have both share.
    pub(super) async fn consumer(
        &self,
        class: &str,
        model: &str,
    ) -> Result<Consumer<pull::Config>, ApiError> {
        let name = format!("{class}-{model}");
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: format!("latent.jobs.{class}.{model}.>"),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.ack_wait,
            // Whoever gets a job counts how often it was handed out, so that none is left behind unseen.
            max_deliver: -1,
            max_ack_pending: 100_000,
            inactive_threshold: DAY,
            ..Default::default()
        };
        let made = self.jobs.get_or_create_consumer(&name, config).await;
        made.map_err(|error| self.failed("jobs cannot be received", &error))
    }

    /// Notes that a worker gave a job back without having failed.
    pub(super) async fn note_return(&self, key: &PartKey) -> Result<(), ApiError> {
        let returns = self.returned(key).await? + 1;
        let put = self.returns.put(key.to_string(), returns.to_string().into()).await;
        put.map(drop).map_err(|error| self.not_stored("a returned job cannot be noted", &error))
    }

    /// How often a job was given back.
    pub(super) async fn returned(&self, key: &PartKey) -> Result<u64, ApiError> {
        let noted = self.returns.get(key.to_string()).await;
        let noted = noted.map_err(|error| self.failed("returned jobs cannot be counted", &error))?;
        Ok(noted.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or(0))
    }
}

/// Why something cannot be stored.
enum Obstacle {
    TooLarge,
    Full,
}

impl Obstacle {
    /// What an error or one of its causes says.
    fn of(error: &(dyn Error + 'static)) -> Option<Obstacle> {
        let too_large = |error: &PublishError| error.kind() == PublishErrorKind::MaxPayloadExceeded;
        if error.downcast_ref::<PublishError>().is_some_and(too_large) {
            return Some(Obstacle::TooLarge);
        }
        let is_full = |error: &async_nats::jetstream::Error| match error.error_code() {
            BrokerErrorCode::INSUFFICIENT_RESOURCES
            | BrokerErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | BrokerErrorCode::STORAGE_RESOURCES_EXCEEDED => true,
            BrokerErrorCode::STREAM_STORE_FAILED => error.to_string().contains("maximum bytes"),
            _ => false,
        };
        match error.downcast_ref::<async_nats::jetstream::Error>() {
            Some(error) => is_full(error).then_some(Obstacle::Full),
            None => Obstacle::of(error.source()?),
        }
    }
}

fn jobs_config() -> Config {
    Config {
        name: JOBS.into(),
        subjects: vec!["latent.jobs.>".into()],
        retention: RetentionPolicy::WorkQueue,
        max_age: MAX_JOB_AGE,
        ..once()
    }
}

fn results_config() -> Config {
    Config { name: RESULTS.into(), subjects: vec!["latent.results.>".into()], max_age: MAX_JOB_AGE, ..once() }
}

fn dead_config() -> Config {
    Config { name: DEAD.into(), subjects: vec!["latent.dead.>".into()], max_age: DAY * 30, ..once() }
}

/// The stream of a bucket of keys and values. The client would make it, too, but asks brokers before 2.10 for what they do not tell.
fn bucket_config(bucket: &str, max_age: Duration) -> Config {
    Config {
        name: format!("KV_{bucket}"),
        subjects: vec![format!("$KV.{bucket}.>")],
        max_messages_per_subject: 1,
        max_age,
        discard: DiscardPolicy::New,
        duplicate_window: max_age.min(DUPLICATES),
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        num_replicas: 1,
        ..Default::default()
    }
}

/// A stream that has one message of each subject: the first.
fn once() -> Config {
    Config {
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        duplicate_window: DUPLICATES,
        num_replicas: 1,
        ..Default::default()
    }
}
