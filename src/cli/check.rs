use std::path::Path;

use clap::{Args, ValueEnum};

use super::{Failure, Source, terminal};
use crate::config::{self, Loaded, Paint, Style};
use crate::gateway::clock;
use crate::model::settings::Mode;
use crate::model::{Problem, Severity};
use crate::rules::{RuleBook, Vocabulary};

/// Validate configuration, rules and what they name in each other; exit code 3 when there is a problem.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// Warnings are errors too
    #[arg(long)]
    strict: bool,
    /// How to print problems
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// With source, caret and hint
    Human,
    /// An array of objects
    Json,
}

impl Check {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let path = self.source.path();
        let (summary, problems) = examine(&path);
        let refused = problems.iter().any(|problem| self.strict || problem.severity == Severity::Error);
        match self.output {
            Output::Json => terminal::print(&config::render_json(&problems)),
            Output::Human => {
                if !problems.is_empty() {
                    terminal::print(&config::render(&problems, style(terminal::has_color())));
                }
                if let (Some(summary), false) = (&summary, refused) {
                    terminal::print(summary);
                }
            }
        }
        if refused { Err(Failure::with_code(3, verdict(&path, &problems))) } else { Ok(()) }
    }
}

/// Checks a file that was just written, for people.
pub(super) fn report(path: &Path) -> Result<(), Failure> {
    let check = Check { source: Source { config: Some(path.to_owned()) }, strict: false, output: Output::Human };
    check.execute()
}

/// Everything that is wrong, and what there is if nothing is.
fn examine(path: &Path) -> (Option<String>, Vec<Problem>) {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return (None, problems),
    };
    let config = &loaded.config;
    let (book, mut problems) = RuleBook::compile(&config.rules, &Vocabulary::of(config), clock::steady);
    problems.extend(loaded.warnings);
    let summary = book.map(|book| {
        let cards = book.rules();
        let shadow = cards.iter().filter(|card| card.mode == Mode::Shadow).count();
        let disabled = cards.iter().filter(|card| card.mode == Mode::Disabled).count();
        let mut claims: Vec<&str> = cards.iter().flat_map(|card| card.claims.iter().map(|claim| &**claim)).collect();
        claims.sort_unstable();
        claims.dedup();
        format!(
            "✓ {}   {}, {}, {}\n✓ {}{}{}   read claims: {}\n",
            path.display(),
            plural(config.routes.len(), "route"),
            plural(config.upstreams.len(), "upstream"),
            plural(config.billing.meters.len(), "meter"),
            plural(cards.len(), "rule"),
            count(shadow, "in shadow"),
            count(disabled, "disabled"),
            if claims.is_empty() { "none".to_owned() } else { claims.join(", ") },
        )
    });
    (summary, problems)
}

fn count(number: usize, what: &str) -> String {
    if number == 0 { String::new() } else { format!(", {number} {what}") }
}

fn verdict(path: &Path, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    format!("✗ {}: {}, {}", path.display(), plural(errors, "error"), plural(warnings, "warning"))
}

fn plural(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn style(color: bool) -> Style {
    Style { paint: if color { Paint::Color } else { Paint::Plain }, ..Style::default() }
}

/// Loads for a command that needs a configuration without errors.
pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    config::load(path).map_err(|problems| failure(&problems))
}

/// What such a command says instead.
pub(super) fn failure(problems: &[Problem]) -> Failure {
    Failure::with_code(3, render(problems))
}

/// Problems for the standard error.
pub(super) fn render(problems: &[Problem]) -> String {
    config::render(problems, style(terminal::talk_has_color()))
}
