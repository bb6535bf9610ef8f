//! A worker's loop for one device: takes a part of a job, has it drawn, and sends its images.

use super::answer::{collect, failed, send_result, to_event};
use super::inventory::REPLAY;
use super::parcel::{Parcel, Unpacked};
use super::signs::MAX_CUTS;
use super::site::WorkerSite;
use super::wire::{
    self, DeadMessage, EventMessage, JobMessage, PartKey, ResultMessage, SCHEMA, WorkBytes, WorkerEvent,
};
use crate::error::{ApiError, ErrorCode};
use crate::queue::{ApiName, JobId, JobPhase, NewJob, ServerEvent};
use crate::work::Work;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, sleep, timeout};

/// Time after which an idle worker looks although nobody woke it: for jobs of workers that died.
const IDLE: Duration = Duration::from_secs(1);
/// Time for an answer to a look into the queue. A broker of version 2.9 gives none, but the next job, where jobs were removed.
const FETCH: Duration = Duration::from_secs(1);
/// How often a job is given back by workers that cannot draw it.
const MAX_LACKING: u64 = 20;

/// The loop of a device.
pub(super) struct Lane {
    pub(super) site: Arc<WorkerSite>,
    /// The device's name in the local queue.
    pub(super) device: String,
    /// Classes of jobs that it draws.
    pub(super) classes: Vec<String>,
    pub(super) stop: watch::Receiver<u8>,
}

/// How the drawing of a part ended.
enum Drawn {
    /// With images, or an error.
    Result(Box<ResultMessage>),
    /// Nobody wants it any more.
    Cancelled,
    /// This worker cannot draw it, another perhaps.
    Lacking(String),
}

/// A job of the local queue, which is cancelled when nobody waits for it any more.
struct LocalJob<'a>(&'a WorkerSite, JobId);

impl Drop for LocalJob<'_> {
    fn drop(&mut self) {
        // One that has ended is well.
        let _ = self.0.queue.cancel(self.1);
    }
}

impl Lane {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow() > 0
    }

    /// Draws until it is asked to stop.
    pub(super) async fn run(mut self) {
        // A subscription is only refused by a client that has ended.
        let Ok(mut wakes) = self.site.broker.client.subscribe("latent.wake.>").await else { return };
        let mut consumers = HashMap::new();
        let mut stop = self.stop.clone();
        while !self.is_stopped() {
            // What woke it before is seen by this look.
            while wakes.next().now_or_never().flatten().is_some() {}
            if let Some(message) = self.take(&mut consumers).await {
                self.handle(message).await;
                continue;
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                _ = wakes.next() => {}
                () = sleep(IDLE) => {}
            }
        }
    }

    /// The next part of a job, of what is in memory first.
    async fn take(
        &self,
        consumers: &mut HashMap<(String, String), Consumer<pull::Config>>,
    ) -> Option<Message> {
        let (places, mut stop) = (self.site.inventory.places(), self.stop.clone());
        for class in &self.classes {
            for place in &places {
                if self.is_stopped() {
                    return None;
                }
                let key = (class.clone(), place.clone());
                if !consumers.contains_key(&key) {
                    let made = self.site.broker.consumer(class, place).await;
                    let made = made.map_err(|error| self.site.complain(&error)).ok()?;
                    consumers.insert(key.clone(), made);
                }
                let consumer = &consumers[&key];
                let fetch = async {
                    let mut batch = consumer.fetch().max_messages(1).messages().await.map_err(drop)?;
                    batch.next().await.transpose().map_err(drop)
                };
                let fetched = tokio::select! {
                    biased;
                    fetched = timeout(FETCH, fetch) => fetched,
                    () = stopped(&mut stop) => return None,
                };
                match fetched {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some(message))) => return Some(message),
                    // It is gone, or the broker is.
                    Ok(Err(())) | Err(_) => drop(consumers.remove(&key)),
                }
            }
        }
        None
    }

    /// Draws a part of a job, unless it was handed out too often.
    async fn handle(&mut self, message: Message) {
        let (site, key) = (self.site.clone(), PartKey::of_subject(&message.subject));
        let (Some(key), Ok(info)) = (key, message.info()) else {
            let _ = message.ack_with(AckKind::Term).await;
            return;
        };
        let deliveries = u64::try_from(info.delivered).unwrap_or(1).max(1);
        match self.reason_to_park(&key, deliveries).await {
            Ok(None) => {}
            Ok(Some(reason)) => return self.park(&message, &key, deliveries, reason).await,
            Err(_) => {
                // It comes again when the broker can say how many were lost.
                let _ = message.ack_with(AckKind::Nak(Some(self.delay(0)))).await;
                return;
            }
        }
        if deliveries > 1 {
            // Without it the loss of this worker would not count.
            let _ = site.broker.note_claim(&key, &site.instance).await;
        }
        site.begins(&key);
        let is_done = self.draw_and_answer(&message, &key, deliveries).await;
        site.ends(&key, is_done);
    }

    /// Why a part must not be drawn once more, if so: too many workers were lost with it.
    async fn reason_to_park(&self, key: &PartKey, deliveries: u64) -> Result<Option<String>, ApiError> {
        let (site, max) = (&self.site, self.site.broker.options.max_deliveries);
        if deliveries <= max {
            return Ok(None);
        }
        let unanswered = (deliveries - 1).saturating_sub(site.broker.returned(key).await?);
        if unanswered < max {
            return Ok(None);
        }
        let lost = site.lost(key).await?;
        if lost >= max {
            return Ok(Some(format!(
                "the job was handed to workers {lost} times, and none of them was heard of again: it may have ended them; it \
                 is set aside"
            )));
        }
        // They were cut off, and live.
        Ok((unanswered >= max.saturating_mul(MAX_CUTS)).then(|| {
            format!("the job was handed to workers {unanswered} times without an answer, although they live; it is set aside")
        }))
    }

    /// Draws while the broker hears that it does; whether it was drawn.
    async fn draw_and_answer(&mut self, message: &Message, key: &PartKey, deliveries: u64) -> bool {
        let site = self.site.clone();
        let mut alive = tokio::time::interval(site.broker.options.ack_wait / 3);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let device = self.device.clone();
        let drawing = async {
            let drawn = draw(&site, &device, key, &message.payload, deliveries).await;
            if let Drawn::Result(result) = &drawn {
                send_result(&site, key, result).await;
            }
            drawn
        };
        tokio::pin!(drawing);
        let drawn = loop {
            tokio::select! {
                biased;
                drawn = &mut drawing => break drawn,
                () = stopped(&mut self.stop) => {
                    // Dropping the drawing cancels it.
                    let _ = site.broker.note_return(key).await;
                    let _ = message.double_ack_with(AckKind::Nak(None)).await;
                    return false;
                }
                // Without a connection it would be kept, and come too late.
                _ = alive.tick() => if site.broker.is_connected() {
                    drop(message.ack_with(AckKind::Progress).await);
                },
            }
        };
        match drawn {
            Drawn::Result(_) => {
                let _ = message.double_ack().await;
                true
            }
            Drawn::Cancelled => {
                let _ = message.ack_with(AckKind::Term).await;
                false
            }
            Drawn::Lacking(what) => {
                let reason = format!("worker {}: {what}", site.name);
                let returns = site.broker.returned(key).await.unwrap_or(0);
                if returns >= MAX_LACKING {
                    let reason = format!("no worker can draw the job; {reason}");
                    self.park(message, key, deliveries, reason).await;
                } else {
                    (site.log)(&format!("job {key} is given back: {what}"));
                    report(&site, key, WorkerEvent::Warning { message: reason }).await;
                    let _ = site.broker.note_return(key).await;
                    let _ = message.ack_with(AckKind::Nak(Some(self.delay(returns)))).await;
                }
                false
            }
        }
    }

    /// Time until a job that this worker cannot draw is handed to another: longer each time, for those who can may be busy.
    fn delay(&self, returns: u64) -> Duration {
        let max = self.site.broker.options.ack_wait;
        max.min(max / 30 * (1 << returns.min(5)))
    }

    /// Sets a job aside, and tells its front why.
    async fn park(&self, message: &Message, key: &PartKey, deliveries: u64, reason: String) {
        let site = &self.site;
        (site.log)(&format!("job {key}: {reason}"));
        let dead = DeadMessage { schema: SCHEMA, job: key.to_string(), reason: reason.clone(), deliveries };
        let stored = site.broker.add_dead(key, wire::to_bytes(&dead)).await;
        let result = failed(site, deliveries, ApiError::failed(reason));
        let answered = site.broker.add_result(key, wire::to_bytes(&result)).await;
        // Otherwise it comes again after a while.
        if stored.is_ok() && answered.is_ok() {
            let _ = message.double_ack_with(AckKind::Term).await;
        }
    }
}

/// Waits until the worker is asked to stop.
async fn stopped(stop: &mut watch::Receiver<u8>) {
    // Without a sender nobody can ask; then the worker has ended.
    let _ = stop.wait_for(|times| *times > 0).await;
}

/// Tells the front something, which may get lost.
async fn report(site: &WorkerSite, key: &PartKey, event: WorkerEvent) {
    let message = EventMessage { schema: SCHEMA, event };
    site.broker.send_unkept(key.subject("events"), wire::to_bytes(&message)).await;
}

/// Draws a part of a job.
async fn draw(site: &Arc<WorkerSite>, device: &str, key: &PartKey, payload: &[u8], deliveries: u64) -> Drawn {
    let began = Instant::now();
    let fail = |error: ApiError| {
        (site.log)(&format!("job {key} failed: {error}"));
        Drawn::Result(Box::new(failed(site, deliveries, error)))
    };
    let message: JobMessage = match wire::read("the job", payload) {
        Ok(message) => message,
        // A worker of that version may be there.
        Err(error) if wire::is_of_other_version(payload) => return Drawn::Lacking(error.message),
        Err(error) => return fail(error),
    };
    // Before anybody hears that it begins, so that no word of its end is missed.
    let Ok(mut cancel) = site.broker.client.subscribe(key.subject("cancel")).await else {
        return Drawn::Lacking("has no connection".into());
    };
    let new = match unpack(site, device, message).await {
        Ok(new) => new,
        Err(drawn) => return drawn.unwrap_or_else(fail),
    };
    report(site, key, WorkerEvent::Started { worker: site.name.clone() }).await;
    let mut events = site.queue.subscribe();
    let queue = site.queue.clone();
    let submitted = tokio::task::spawn_blocking(move || queue.submit(new)).await;
    let job = match submitted.map_err(|error| ApiError::failed(error.to_string())) {
        Ok(Ok(status)) => LocalJob(site, status.record.id),
        Ok(Err(error)) | Err(error) => return fail(error),
    };
    loop {
        tokio::select! {
            Some(_) = cancel.next() => return Drawn::Cancelled,
            event = events.recv() => match event {
                Ok(ServerEvent::Progress(id, notice)) if id == job.1 => {
                    if let Some(event) = to_event(notice) {
                        report(site, key, event).await;
                    }
                }
                Ok(ServerEvent::Job(id, phase)) if id == job.1 && phase.is_final() => break,
                Err(RecvError::Lagged(_)) if !site.queue.is_active(job.1) => break,
                Err(RecvError::Closed) => return Drawn::Cancelled,
                _ => {}
            }
        }
    }
    match site.queue.status(job.1) {
        Ok(status) if status.record.phase == JobPhase::Cancelled => Drawn::Cancelled,
        Ok(status) => {
            let took_ms = began.elapsed().as_millis() as u64;
            Drawn::Result(Box::new(collect(site, key, status.record, deliveries, took_ms).await))
        }
        Err(error) => fail(error),
    }
}

/// A job of the local queue, with this machine's files. An error without what is to be done is the job's end.
async fn unpack(
    site: &Arc<WorkerSite>,
    device: &str,
    message: JobMessage,
) -> Result<NewJob, Result<Drawn, ApiError>> {
    let json = match &message.work {
        WorkBytes::Inline(json) => json.clone().into_bytes(),
        WorkBytes::Object(object) => loop {
            match site.broker.get_object(object).await {
                Ok(bytes) => break bytes,
                Err(error) if error.code == ErrorCode::Unavailable => site.wait(&error).await,
                Err(error) => return Err(Err(error)),
            }
        },
    };
    let damaged = |error: serde_json::Error| Err(ApiError::failed(format!("the job is damaged: {error}")));
    let work: Work = serde_json::from_slice(&json).map_err(damaged)?;
    let JobMessage { verb, seed, preview_interval, files, named_loras, folders, .. } = message;
    let parcel = Parcel { place: REPLAY.into(), work, files, named_loras, folders };
    let own = site.clone();
    let unpacked = tokio::task::spawn_blocking(move || parcel.unpack(&own.inventory, &own.folders)).await;
    let work = match unpacked.map_err(|error| Err(ApiError::failed(error.to_string())))? {
        Unpacked::Work(work) => *work,
        Unpacked::Lacking(what) => return Err(Ok(Drawn::Lacking(what))),
        Unpacked::Refused(error) => return Err(Err(error)),
    };
    Ok(NewJob {
        verb,
        work,
        prompt: String::new(),
        model: String::new(),
        seed,
        api: ApiName::Latent,
        client: "queue".into(),
        device: Some(device.to_owned()),
        preview_interval,
    })
}
