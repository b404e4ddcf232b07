use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{reply, text};

/// Asks whoever keeps the configuration current to load it now. The answer is what became of it.
pub type ReloadRequest = oneshot::Sender<ReloadReport>;

/// What a reload did.
#[derive(Clone, Debug)]
pub enum ReloadReport {
    /// Another configuration is in use.
    Loaded {
        /// What only a restart can change.
        needs_restart: Vec<&'static str>,
        /// What `tollgate check` would warn about.
        warnings: usize,
    },
    /// Nothing changed.
    Unchanged,
    /// The new one has problems, printed as `tollgate check` does; the one before stays in use.
    Refused(String),
}

/// A header that no form and no simple request of a web page can carry.
const ASKED_FOR: &str = "tollgate-reload";

/// Compiling a large rule book takes a second in the worst case.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers `POST /reload`.
///
/// A page in the operator's browser must not be able to ask: it cannot set the header without asking first by OPTIONS, which is
/// refused; and if its name leads to this address, its `Host` is none of loopback's. On another address than loopback, where the
/// latter does not hold, there is no reload by HTTP at all.
pub(super) async fn reload(
    headers: &HeaderMap,
    is_loopback: bool,
    requests: Option<&mpsc::Sender<ReloadRequest>>,
) -> Response<Vec<u8>> {
    if !is_loopback {
        return text(StatusCode::FORBIDDEN, "only on a loopback address; send SIGHUP instead\n");
    }
    if headers.get(ASKED_FOR).is_none_or(|value| value != "1") || headers.contains_key(header::ORIGIN) {
        return text(StatusCode::FORBIDDEN, "send the header `Tollgate-Reload: 1`, and no Origin\n");
    }
    let Some(requests) = requests else {
        return text(StatusCode::NOT_FOUND, "this gateway has no configuration file\n");
    };
    let (sender, answer) = oneshot::channel();
    if requests.try_send(sender).is_err() {
        return text(StatusCode::TOO_MANY_REQUESTS, "a reload is being asked for already\n");
    }
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(report)) => tell(&report),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the reload did not end; see the log\n"),
    }
}

fn tell(report: &ReloadReport) -> Response<Vec<u8>> {
    let (status, document) = match report {
        ReloadReport::Loaded { needs_restart, warnings } => {
            (StatusCode::OK, json!({ "result": "loaded", "needs_restart": needs_restart, "warnings": warnings }))
        }
        ReloadReport::Unchanged => (StatusCode::OK, json!({ "result": "unchanged" })),
        ReloadReport::Refused(problems) => {
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "result": "refused", "problems": problems }))
        }
    };
    let mut body = serde_json::to_vec_pretty(&document).unwrap_or_default();
    body.push(b'\n');
    reply(status, "application/json", body)
}
