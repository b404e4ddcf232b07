use std::path::PathBuf;

use clap::Args;

use super::{Failure, Source, check, terminal};
use crate::model::{Absence, Caller};
use crate::trial::{Rehearsal, suite};

/// Run the rule tests: tests/*.test.yaml beside the rules, through the same flow as a request. Exit code 4 when one fails.
#[derive(Debug, Args)]
pub(super) struct Test {
    #[command(flatten)]
    source: Source,
    /// Only cases whose name contains this
    #[arg(default_value = "")]
    filter: String,
}

impl Test {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let path = self.source.path();
        let config = check::load(&path)?.config;
        let root = path.parent().map(PathBuf::from).unwrap_or_default();
        let folder = |rule: &crate::model::settings::Rule| root.join(&rule.source.name).parent().map(PathBuf::from);
        let mut folders: Vec<PathBuf> = config.rules.entries.iter().filter_map(folder).collect();
        folders.sort();
        folders.dedup();
        let files = suite::find(&folders);
        if files.is_empty() {
            return Err(Failure::new("no tests: write tests/*.test.yaml beside the rules"));
        }
        let anonymous = Caller::Anonymous(Absence::NoToken);
        let mut rehearsal = Rehearsal::new(config, anonymous).map_err(|problems| check::failure(&problems))?;
        let summary = suite::run(&mut rehearsal, &files, &self.filter);
        terminal::print(&summary.text);
        match (summary.passed + summary.failed + summary.skipped, summary.failed) {
            (0, _) => Err(Failure::with_code(4, format!("no test's name contains `{}`", self.filter))),
            (_, 0) => Ok(()),
            _ => Err(Failure::with_code(4, "")),
        }
    }
}
