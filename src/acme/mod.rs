//! Certificates from an ACME server (RFC 8555): orders them, proves that names are ours, renews them in time.
//!
//! What it gets it writes into a file that the configuration reads like any other certificate, so that there is one way in which
//! certificates come into use.

mod cache;
mod client;
mod order;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::settings::Acme;
use crate::tls::Challenges;

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// After the start.
const START: Duration = Duration::from_secs(1);

/// After a failure; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// How an order ended.
#[derive(Debug)]
pub enum Ordered {
    /// The certificate is in its file.
    Yes,
    /// It is not, for this reason.
    No(String),
}

/// Keeps the certificates that `wanted` names fresh, for ever. `now` is the time since the Unix epoch.
pub async fn keep_fresh(
    challenges: &Challenges,
    wanted: impl Fn() -> Vec<Arc<Acme>>,
    now: impl Fn() -> Duration,
    told: impl Fn(&Acme, &Ordered),
) {
    // Who proves something needs listeners, which open meanwhile.
    tokio::time::sleep(START).await;
    let mut failures: HashMap<String, (u32, Duration)> = HashMap::new();
    loop {
        for acme in wanted() {
            let name = acme.label().to_owned();
            let (count, until) = failures.get(&name).copied().unwrap_or_default();
            if now() < until || !cache::is_due(&acme, now()).await {
                continue;
            }
            let ordered = match order::place(&acme, challenges).await {
                Ok(pem) => match cache::write(&acme, &pem).await {
                    Ok(()) => Ordered::Yes,
                    Err(error) => Ordered::No(format!("the certificate cannot be written: {error}")),
                },
                Err(error) => Ordered::No(error),
            };
            challenges.clear();
            match &ordered {
                Ordered::Yes => drop(failures.remove(&name)),
                Ordered::No(_) => {
                    let wait = FIRST_WAIT.saturating_mul(1 << count.min(10)).min(LONGEST_WAIT);
                    failures.insert(name, (count + 1, now() + wait));
                }
            }
            told(&acme, &ordered);
        }
        tokio::time::sleep(LOOK).await;
    }
}
