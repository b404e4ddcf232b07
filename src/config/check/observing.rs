use http::{HeaderValue, Uri};

use super::count;
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::{Section, not_built_yet};
use crate::model::Problem;
use crate::model::settings::{AccessLog, LogOutput, Secret, Tracing};

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
    let max_series = top
        .optional("metrics")
        .and_then(|field| field.section(|section| count(section.optional("max_series_per_metric")?.number(1..=1_000_000))));
    let log = top.optional("access_log").map(|field| field.section(|section| access_log(section, surroundings)));
    let stdout = AccessLog { output: LogOutput::Stdout, omit: unasked() };
    (max_series.unwrap_or(2_000), log.unwrap_or(stdout))
}

/// `tracing:`
pub(super) fn tracing(top: &Section<'_>) -> Option<Tracing> {
    top.optional("tracing").map(|field| {
        field.section(|section| {
            let written = section.optional("otlp");
            let otlp = written.and_then(collector);
            for key in ["authorization", "sample"] {
                if let Some(field) = section.optional(key).filter(|_| written.is_none()) {
                    let problem =
                        Problem::error("config::bad-value", format!("{} is for `otlp`, which is missing", field.name()));
                    field.note_at_key(problem.label("does nothing without it"));
                }
            }
            let secret = section.optional("authorization").and_then(Field::word).and_then(|word| {
                if HeaderValue::from_str(word.text).is_ok() {
                    return Some(Secret::new(word.text));
                }
                word.unusable("the value of a header", "for example `Bearer ${OTLP_TOKEN}`")
            });
            Tracing {
                otlp,
                authorization: secret,
                sample: section.optional("sample").and_then(share).unwrap_or(0.01),
                trust_incoming: section.optional("trust_incoming").and_then(Field::yes_or_no).unwrap_or(false),
                service_name: section
                    .optional("service_name")
                    .and_then(Field::word)
                    .and_then(super::name)
                    .map_or_else(|| "tollgate".to_owned(), |name| name.to_string()),
            }
        })
    })
}

/// A URL; without a path it gets OTLP's own.
fn collector(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let url = word.text.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.authority().is_some_and(|a| !a.as_str().contains('@'))
            && url.query().is_none()
    });
    match url {
        Some(url) if url.path() == "/" => Some(format!("{}/v1/traces", word.text.trim_end_matches('/'))),
        Some(_) => Some(word.text.to_owned()),
        None => word.unusable("the URL of a collector", "for example http://127.0.0.1:4318; credentials go into `authorization`"),
    }
}

/// From 0 to 1.
fn share(field: Field<'_>) -> Option<f64> {
    let word = field.word()?;
    match word.text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Some(share),
        _ => word.unusable("a share", "from 0 to 1, for example 0.01 for every hundredth"),
    }
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
