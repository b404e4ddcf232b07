//! FusionAuth's own log of events (since 1.53), for those that never arrived: it sends an event once, and the gateway may have been
//! away.

use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Client, redirect};
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::{self, Event, Meaning};
use crate::identity::revocation::{Revocations, Source};
use crate::model::Moment;
use crate::model::settings::EventLog;

/// What the file calls it: unix milliseconds of the newest entry that was read.
const PROGRESS: &str = "fusionauth event log";
/// Entries are written in the order of their commits, not of their instants.
const OVERLAP: Duration = Duration::from_secs(120);
const PAGE: usize = 100;
/// In one round: a log that grows faster than it is read must not keep it from noting how far it came.
const MOST_PAGES: usize = 500;
const MAX_PAGE_BYTES: usize = 32 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// How reading the log goes.
#[derive(Debug, Default)]
pub struct Reading(Mutex<ReadingStatus>);

/// What operators see of it.
#[derive(Clone, Debug, Default)]
pub struct ReadingStatus {
    /// Unix seconds of the last time that it was read to its end.
    pub read_at: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    webhook_event_logs: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    insert_instant: i64,
    event: Option<Value>,
}

impl Reading {
    /// For operators.
    pub fn status(&self) -> ReadingStatus {
        self.0.lock().clone()
    }

    fn note(&self, outcome: Result<(), String>, now: Moment) {
        let mut status = self.0.lock();
        match outcome {
            Ok(()) => {
                if let Some(error) = status.last_error.take() {
                    tracing::info!("FusionAuth's event log can be read again after: {error}");
                }
                status.read_at = Some(now.unix_seconds());
            }
            Err(error) => {
                if status.last_error.as_ref() != Some(&error) {
                    tracing::warn!("FusionAuth's event log cannot be read: {error}");
                }
                status.last_error = Some(error);
            }
        }
    }
}

/// Reads what came since the last time, at once and again. Runs until cancelled.
pub async fn keep_caught_up(revocations: &Revocations, settings: impl Fn() -> Option<EventLog>, clock: fn() -> Moment) {
    // The same cautions as for keys: no redirects, no proxy of the environment.
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().referer(false).timeout(TIMEOUT).build();
    let Ok(client) = client.inspect_err(|error| tracing::error!("FusionAuth's event log cannot be read: {error}")) else {
        return std::future::pending().await;
    };
    loop {
        let Some(settings) = settings() else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let outcome = read(&client, &settings, revocations, clock).await;
        let pause = if outcome.is_ok() { settings.every } else { AGAIN.min(settings.every) };
        revocations.inbox.reading.note(outcome, clock());
        tokio::time::sleep(pause).await;
    }
}

async fn read(client: &Client, settings: &EventLog, revocations: &Revocations, clock: fn() -> Moment) -> Result<(), String> {
    let known = revocations.progress(PROGRESS).await;
    let horizon = milliseconds(revocations.horizon(clock()));
    let start = known.map_or(horizon, |known| (known - milliseconds(OVERLAP)).max(horizon));
    let end = milliseconds(clock().unix() + OVERLAP);
    let mut newest = known.unwrap_or(0);
    for page in 0..MOST_PAGES {
        let search = json!({ "search": {
            "start": start, "end": end, "orderBy": "insertInstant ASC", "startRow": page * PAGE, "numberOfResults": PAGE,
        }});
        let entries = ask(client, settings, &search).await?;
        let is_last = entries.len() < PAGE;
        for entry in entries {
            apply(entry.event, settings, revocations, clock()).await?;
            newest = newest.max(entry.insert_instant);
        }
        revocations.note(PROGRESS, newest);
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}

async fn ask(client: &Client, settings: &EventLog, search: &Value) -> Result<Vec<Entry>, String> {
    let request = client
        .post(format!("{}/api/system/webhook-event-log/search", settings.url))
        .header("authorization", settings.api_key.expose())
        .header("content-type", "application/json")
        .body(search.to_string());
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let mut response = request.send().await.map_err(failed)?;
    match response.status().as_u16() {
        200 => {}
        401 => {
            return Err(
                "the API key is not accepted; it needs POST on /api/system/webhook-event-log/search, and no tenant".into()
            );
        }
        404 => return Err("there is no such log; FusionAuth has one since 1.53".into()),
        status => return Err(format!("FusionAuth answered {status}")),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_PAGE_BYTES {
            return Err(format!("a page is larger than {MAX_PAGE_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| "FusionAuth answered something else than a log".to_owned())?;
    Ok(answer.webhook_event_logs)
}

async fn apply(logged: Option<Value>, settings: &EventLog, revocations: &Revocations, now: Moment) -> Result<(), String> {
    // What was sent is `{"event": …}`; the log has that, or what is in it.
    let Some(mut event) = logged else { return Ok(()) };
    if let Some(inner) = event.get_mut("event").filter(|inner| inner.is_object()) {
        event = inner.take();
    }
    let Ok(Event { id, at, meaning: Meaning::Revoke(meant) }) = event::of(&event, settings.tenants.as_deref()) else {
        return Ok(());
    };
    if revocations.inbox.has(&id) || !revocations.matters(at, now) {
        return Ok(());
    }
    let until = at.min(now.unix());
    let orders: Vec<_> = meant.into_iter().map(|meant| meant.until(until)).collect();
    revocations.revoke(&orders, Source::EventLog, now).await.map_err(|error| error.to_string())?;
    revocations.inbox.remember(&id);
    Ok(())
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
