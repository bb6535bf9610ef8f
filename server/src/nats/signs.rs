//! Signs of life of workers, and who of those that had a part of a job was not heard of again.

use super::broker::Broker;
use super::wire::{self, PartKey, WorkerInfo};
use crate::error::ApiError;
use futures_util::TryStreamExt;
use std::time::{Duration, SystemTime};

/// How often a part may be handed out, for each worker that may be lost with it, while all workers live.
pub(super) const MAX_CUTS: u64 = 10;

impl Broker {
    /// What each worker said last, and when, by the broker's clock.
    pub(super) async fn signs(&self) -> Result<Vec<(WorkerInfo, SystemTime)>, ApiError> {
        let failed = |error: &dyn std::fmt::Display| {
            ApiError::failed(format!("{}: the workers cannot be listed: {error}", self.options.url))
        };
        let keys = self.workers.keys().await.map_err(|error| failed(&error))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|error| failed(&error))?;
        let mut signs = Vec::new();
        for key in keys {
            // One that ended meanwhile, or of another version, is left out.
            let Ok(Some(entry)) = self.workers.entry(key).await else { continue };
            let Ok(info) = wire::read::<WorkerInfo>("a worker", &entry.value) else { continue };
            signs.push((info, entry.created.into()));
        }
        Ok(signs)
    }

    /// Time between two signs of life at most.
    pub(super) fn sign_interval(&self) -> Duration {
        (self.options.ack_wait / 6).min(Duration::from_secs(5))
    }

    /// Those who began to draw a part that was handed out before, each once.
    async fn claims(&self, key: &PartKey) -> Result<Vec<String>, ApiError> {
        let noted = self.returns.get(claims_key(key)).await;
        let noted = noted.map_err(|error| self.failed("who had a job cannot be read", &error))?;
        Ok(noted.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Notes that an instance of a worker draws a part that was handed out before. The first who drew it is not noted, to spare
    /// a message for each part.
    pub(super) async fn note_claim(&self, key: &PartKey, instance: &str) -> Result<(), ApiError> {
        let mut claims = self.claims(key).await?;
        if claims.iter().any(|own| own == instance) {
            return Ok(());
        }
        claims.push(instance.to_owned());
        let put = self.returns.put(claims_key(key), wire::to_bytes(&claims).into()).await;
        put.map(drop).map_err(|error| self.not_stored("who has a job cannot be noted", &error))
    }

    /// How many of those who had a part are gone: the first, and those who were noted and give no sign of life. `own` gave one
    /// just now.
    pub(super) async fn lost(&self, key: &PartKey, own: &str) -> Result<u64, ApiError> {
        let (claims, signs) = (self.claims(key).await?, self.signs().await?);
        let now = signs.iter().find(|(info, _)| info.instance == own).map(|(_, time)| *time);
        // A part comes again after two thirds of this time at least.
        let max = self.options.ack_wait / 2;
        let is_alive = |instance: &String| {
            let heard = signs.iter().find(|(info, _)| info.instance == *instance).map(|(_, time)| *time);
            // Both by the same clock.
            heard.zip(now).is_some_and(|(heard, now)| {
                now.duration_since(heard).is_ok_and(|age| age < max) || heard >= now
            })
        };
        Ok(1 + claims.iter().filter(|instance| !is_alive(instance)).count() as u64)
    }
}

fn claims_key(key: &PartKey) -> String {
    format!("{key}.claims")
}
