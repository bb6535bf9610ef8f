//! Jobs that were set aside.

use super::broker::Broker;
use super::wire::{self, DeadMessage, PartKey};
use crate::error::ApiError;
use serde::Serialize;
use std::time::SystemTime;

/// A job that was set aside, for whoever looks after the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[non_exhaustive]
pub struct ParkedJob {
    /// The front's name, the job's number there, and the part's.
    pub job: String,
    /// Why.
    pub reason: String,
    /// How often it was handed to a worker.
    pub deliveries: u64,
    /// When, as RFC 3339, by the broker's clock.
    pub time: String,
}

impl Broker {
    /// Adds a job to those that were set aside.
    pub(super) async fn add_dead(&self, key: &PartKey, bytes: Vec<u8>) -> Result<(), ApiError> {
        self.publish_once(key.subject("dead"), &format!("dead.{key}"), bytes).await.map(drop)
    }

    /// The last jobs that were set aside, the newest first.
    pub(super) async fn parked(&self, limit: usize) -> Result<Vec<ParkedJob>, ApiError> {
        let failed =
            |error: &dyn std::fmt::Display| self.failed("the jobs set aside cannot be listed", error);
        let mut stream = self.dead.clone();
        let state = stream.info().await.map_err(|error| failed(&error))?.state.clone();
        let mut parked = Vec::new();
        if state.messages == 0 {
            return Ok(parked);
        }
        for sequence in (state.first_sequence..=state.last_sequence).rev().take(limit) {
            // One that has gone meanwhile, or of another version, is left out.
            let Ok(message) = self.dead.get_raw_message(sequence).await else { continue };
            let Ok(dead) = wire::read::<DeadMessage>("a job set aside", &message.payload) else { continue };
            let time = humantime::format_rfc3339_seconds(SystemTime::from(message.time)).to_string();
            let (job, reason) = (wire::line(&dead.job), wire::line(&dead.reason));
            parked.push(ParkedJob { job, reason, deliveries: dead.deliveries, time });
        }
        Ok(parked)
    }
}
