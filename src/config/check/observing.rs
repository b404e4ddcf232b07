use super::count;
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::{Section, not_built_yet};
use crate::model::settings::{AccessLog, LogOutput};

/// What `access_log.omit` may name.
const MEMBERS: [(&str, &str); 8] = [
    ("query", "query"),
    ("user_agent", "user_agent"),
    ("client_ip", "client_ip"),
    ("sub", "sub"),
    ("account", "account"),
    ("host", "host"),
    ("path", "path"),
    ("tags", "tags"),
];

/// `metrics:` and `access_log:`, and what will stand beside them.
pub(super) fn lower(top: &Section<'_>, surroundings: &Surroundings<'_>) -> (usize, AccessLog) {
    top.not_built_yet("decision_log", "decisions are in the access log");
    top.not_built_yet("tracing", "there are the access log and metrics");
    let max_series = top
        .optional("metrics")
        .and_then(|field| field.section(|section| count(section.optional("max_series_per_metric")?.number(1..=1_000_000))));
    let log = top.optional("access_log").map(|field| field.section(|section| access_log(section, surroundings)));
    let stdout = AccessLog { output: LogOutput::Stdout, omit: unasked() };
    (max_series.unwrap_or(2_000), log.unwrap_or(stdout))
}

fn access_log(section: &Section<'_>, surroundings: &Surroundings<'_>) -> AccessLog {
    if let Some(field) = section.optional("format") {
        if field.is_word_that(|text| ["ecs", "combined"].contains(&text)) {
            field.note(not_built_yet("this format", "write `json`"));
        } else {
            field.one_of(&[("json", ())]);
        }
    }
    let listed =
        |field: Field<'_>| field.items().into_iter().filter_map(|item| Some(item.one_of(&MEMBERS)?.to_owned())).collect();
    AccessLog {
        output: section.optional("output").and_then(|field| output(field, surroundings)).unwrap_or(LogOutput::Stdout),
        omit: section.optional("omit").map_or_else(unasked, listed),
    }
}

/// What is left out unless the operator lists something else: query values may be secrets, and are logged only on purpose.
fn unasked() -> Vec<String> {
    vec!["query".to_owned()]
}

fn output(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<LogOutput> {
    let word = field.word()?;
    match word.text.split_once(':') {
        None if word.text == "stdout" => Some(LogOutput::Stdout),
        None if word.text == "none" => Some(LogOutput::None),
        Some(("file", path)) if !path.is_empty() => Some(LogOutput::File(surroundings.resolve(path))),
        _ => word.unusable("an output of the access log", "stdout, none, or file: and a path"),
    }
}
