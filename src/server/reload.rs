use std::path::{Path, PathBuf};

use crate::config;
use crate::gateway::{FailedReload, Gateway, Snapshot, clock};
use crate::model::settings::Config;
use crate::model::{Problem, Severity};

/// What a reload did.
#[derive(Debug)]
pub enum Reloaded {
    /// Another configuration is in use.
    Yes {
        /// What is watched from now on.
        watched: Vec<PathBuf>,
        /// What only a restart can change.
        needs_restart: Vec<&'static str>,
        /// What `tollgate check` would warn about.
        warnings: usize,
    },
    /// Nothing changed.
    Same,
    /// The new one has problems; the one before stays in use.
    No {
        /// As `tollgate check` prints them.
        problems: String,
    },
}

/// Loads the configuration again, all or nothing. Blocks on files; call it where that hurts nobody.
pub fn reload(gateway: &Gateway, path: &Path) -> Reloaded {
    let before = gateway.snapshot();
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(gateway, &problems),
    };
    let next = &loaded.config;
    let is_same = next.config_sha256 == before.config.config_sha256 && next.rules_sha256 == before.config.rules_sha256;
    if is_same && gateway.last_failure().is_none() && !secrets_changed(&before.config, next) {
        return Reloaded::Same;
    }
    let needs_restart = needs_restart(&before.config, next);
    let (config_hash, rules_hash) = (next.config_sha256.clone(), next.rules_sha256.clone());
    let (on_full, commit_every) = (next.billing.on_full, next.billing.commit_every);
    let lasting = &gateway.lasting;
    let (compiled, problems) = Snapshot::compile(loaded.config, lasting, Some(&before), None);
    let Ok(snapshot) = compiled else { return refuse(gateway, &problems) };
    if let Some(ledger) = &lasting.ledger {
        ledger.set_policy(on_full, commit_every);
    }
    lasting.metrics.loaded(&config_hash, &rules_hash, clock::now().unix().as_secs_f64());
    let old = gateway.replace(snapshot);
    forget(gateway, &old);
    let warnings = problems.iter().filter(|problem| problem.severity == Severity::Warning).count() + loaded.warnings.len();
    Reloaded::Yes { watched: loaded.watched, needs_restart, warnings }
}

fn refuse(gateway: &Gateway, problems: &[Problem]) -> Reloaded {
    let text = config::render(problems, config::Style::default());
    gateway.lasting.metrics.not_loaded();
    gateway.refuse(FailedReload { at: clock::now(), problems: text.clone() });
    Reloaded::No { problems: text }
}

/// Values that come from the environment or from files are not in the text's hash.
fn secrets_changed(before: &Config, next: &Config) -> bool {
    before.identity != next.identity
        || before.upstreams != next.upstreams
        || before.listeners != next.listeners
        || before.routes != next.routes
        || before.redis != next.redis
        || before.error_pages != next.error_pages
}

/// What pingora and the operating system fix at the start.
fn needs_restart(before: &Config, next: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut note = |changed: bool, key| {
        if changed {
            keys.push(key);
        }
    };
    let addresses = |config: &Config| config.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>();
    note(addresses(before) != addresses(next), "listeners[].address");
    note(before.admin != next.admin, "admin.address");
    note(before.threads != next.threads, "server.threads");
    note(before.grace != next.grace, "server.grace");
    note(before.lifecycle.drain_wait != next.lifecycle.drain_wait, "server.drain_wait");
    note(before.lifecycle.upgrade_socket != next.lifecycle.upgrade_socket, "server.upgrade_socket");
    let file = |config: &Config| config.identity.revocation.as_ref().map(|revocation| revocation.file.clone());
    note(file(before) != file(next), "identity.revocation.file");
    note(before.billing.ledger != next.billing.ledger, "billing.ledger");
    let exporter = |config: &Config| {
        config.tracing.as_ref().map(|tracing| (tracing.otlp.clone(), tracing.authorization.clone(), tracing.service_name.clone()))
    };
    note(exporter(before) != exporter(next), "tracing.otlp");
    note(before.access_log.output != next.access_log.output, "access_log.output");
    keys
}

/// Drops the series of rules and meters that no longer exist.
fn forget(gateway: &Gateway, old: &Snapshot) {
    let now = gateway.snapshot();
    let metrics = &gateway.lasting.metrics;
    for rule in old.rule_handles.iter().filter(|rule| now.rule(rule.name()).is_none()) {
        metrics.forget_rule(rule);
    }
    for meter in old.meters.iter().filter(|meter| !now.meters.iter().any(|m| m.name() == meter.name())) {
        metrics.forget_meter(meter);
    }
}
