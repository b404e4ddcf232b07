//! Rule tests: the cases of `tests/*.test.yaml` through the real flow.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cases::{Callers, Case, File};
use super::check::{self, Mismatch};
use super::{Answer, Described, Rehearsal};
use crate::gateway::clock;
use crate::identity;
use crate::model::{Absence, Caller, Claims, Identity, Moment, Name};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Cases that held.
    pub passed: usize,
    /// Cases that did not, or could not be run.
    pub failed: usize,
    /// Cases with `skip:`.
    pub skipped: usize,
    /// For a terminal.
    pub text: String,
}

/// Finds `tests/*.test.yaml` beside each rule file.
pub fn find(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder.join("tests")).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".test.yaml")))
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Runs the cases of all files whose name contains `filter`.
pub fn run(rehearsal: &mut Rehearsal, files: &[PathBuf], filter: &str) -> Summary {
    let began = Instant::now();
    let mut summary = Summary::default();
    for path in files {
        let _ = writeln!(summary.text, "{}", path.display());
        match read(path) {
            Ok(file) => {
                for case in file.tests.iter().filter(|case| case.name.contains(filter)) {
                    run_case(rehearsal, &file, case, &mut summary);
                }
            }
            Err(error) => {
                summary.failed += 1;
                let _ = writeln!(summary.text, "  ✗ cannot be read\n{}", indent(&error, 6));
            }
        }
    }
    let skipped = if summary.skipped > 0 { format!(", {} skipped", summary.skipped) } else { String::new() };
    let took = began.elapsed().as_millis();
    let _ = writeln!(summary.text, "\n{} passed, {} failed{skipped} ({took} ms)", summary.passed, summary.failed);
    summary
}

fn read(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_yaml::from_str(&text).map_err(|error| error.to_string())
}

fn run_case(rehearsal: &mut Rehearsal, file: &File, case: &Case, summary: &mut Summary) {
    if let Some(reason) = &case.skip {
        summary.skipped += 1;
        let _ = writeln!(summary.text, "  - {}   skipped: {reason}", case.name);
        return;
    }
    let names: Vec<Option<&str>> = match &case.callers {
        Callers::Nobody => vec![None],
        Callers::One(name) => vec![Some(name)],
        Callers::Several(names) => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    for name in &names {
        let title = match name {
            Some(name) if names.len() > 1 => format!("{} (as {name})", case.name),
            _ => case.name.clone(),
        };
        match try_case(rehearsal, file, case, *name) {
            Ok(mismatches) if mismatches.is_empty() => {
                summary.passed += 1;
                let _ = writeln!(summary.text, "  ✓ {title}");
            }
            Ok(mismatches) => {
                summary.failed += 1;
                let _ = writeln!(summary.text, "  ✗ {title}");
                for mismatch in &mismatches {
                    describe(&mut summary.text, mismatch);
                }
                let claims = name.and_then(|name| file.identities.get(name));
                let claims = claims.map(|claims| format!(" --claims '{}'", Value::Object(claims.clone()))).unwrap_or_default();
                let _ = writeln!(summary.text, "      tollgate explain '{}'{claims}", case.request);
            }
            Err(error) => {
                summary.failed += 1;
                let _ = writeln!(summary.text, "  ✗ {title}\n{}", indent(&error, 6));
            }
        }
    }
}

fn try_case(rehearsal: &mut Rehearsal, file: &File, case: &Case, name: Option<&str>) -> Result<Vec<Mismatch>, String> {
    let caller = match name {
        None => Caller::Anonymous(Absence::NoToken),
        Some(name) => {
            let claims = file.identities.get(name).ok_or_else(|| format!("there is no identity `{name}` in this file"))?;
            caller_with(claims.clone(), &rehearsal.snapshot().config.identity.account)
        }
    };
    let described = Described {
        line: case.request.clone(),
        headers: pairs(&case.headers),
        client_ip: case.client_ip,
        connection: case.connection.clone(),
        at: case.now.as_deref().map(moment).transpose()?.unwrap_or_else(clock::now),
    };
    let answer = Answer {
        status: case.response.status.unwrap_or(200),
        headers: pairs(&case.response.headers),
        body_bytes: case.response.body_bytes,
        request_bytes: case.response.request_bytes,
        duration: Duration::from_millis(case.response.duration_ms.unwrap_or(1)),
    };
    rehearsal.reset_limits();
    for _ in 1..case.repeat.unwrap_or(1) {
        rehearsal.show(&described, caller.clone(), &answer)?;
    }
    let shown = rehearsal.show(&described, caller, &answer)?;
    Ok(check::compare(&case.expect, &shown))
}

/// A caller whose token says this; the signature is not the rules' business.
pub fn caller_with(claims: serde_json::Map<String, Value>, account: &[String]) -> Caller {
    let account = identity::account(&claims, account);
    Caller::Known(Arc::new(Identity {
        issuer: Name::from("given"),
        claims: Claims::new(claims),
        expires_at: u64::MAX,
        account,
        forwarded: Vec::new(),
    }))
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn moment(text: &str) -> Result<Moment, String> {
    let timestamp: jiff::Timestamp =
        text.parse().map_err(|_| format!("`now: {text}` is no instant such as 2026-11-24T10:00:00Z"))?;
    let unix = Duration::from_millis(u64::try_from(timestamp.as_millisecond()).unwrap_or_default());
    Ok(Moment::new(unix, unix))
}

fn describe(out: &mut String, mismatch: &Mismatch) {
    let _ = writeln!(out, "      {}", mismatch.what);
    let _ = writeln!(out, "        expected  {}", mismatch.expected);
    let _ = writeln!(out, "        got       {}", mismatch.got);
    for because in &mismatch.because {
        let _ = writeln!(out, "        because   {because}");
    }
}

fn indent(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect::<String>().trim_end().to_owned()
}
