use http::Method;

use super::not_possible;
use crate::config::check::count;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::Retries;

#[derive(Clone, Copy)]
enum When {
    ConnectError,
    StaleConnection,
    FirstByteTimeout,
    Status(u16),
}

/// `retries`
pub(super) fn lower(field: Field<'_>) -> Retries {
    let defaults = Retries::default();
    field.section(|section| {
        not_possible(section, "backoff", "there is no pause between attempts", "another server is asked at once");
        let mut retries = section.optional("when").map_or_else(|| defaults.clone(), reasons);
        retries.attempts =
            count(section.optional("attempts").and_then(|field| field.number(0..=10))).unwrap_or(defaults.attempts);
        retries.budget_percent = section.optional("budget").and_then(percent).unwrap_or(defaults.budget_percent);
        if let Some(methods) = methods(section) {
            retries.methods = methods;
        }
        retries
    })
}

fn reasons(field: Field<'_>) -> Retries {
    let words = [
        ("connect_error", When::ConnectError),
        ("stale_connection", When::StaleConnection),
        ("first_byte_timeout", When::FirstByteTimeout),
        ("502", When::Status(502)),
        ("503", When::Status(503)),
        ("504", When::Status(504)),
    ];
    let mut retries = Retries { on_connect_error: false, on_stale_connection: false, ..Retries::default() };
    for item in field.items() {
        match item.one_of(&words) {
            Some(When::ConnectError) => retries.on_connect_error = true,
            Some(When::StaleConnection) => retries.on_stale_connection = true,
            Some(When::FirstByteTimeout) => retries.on_first_byte_timeout = true,
            Some(When::Status(status)) => retries.statuses.push(status),
            None => {}
        }
    }
    retries
}

fn methods(section: &Section<'_>) -> Option<Vec<Method>> {
    let field = section.optional("methods")?;
    let method = |item: Field<'_>| {
        let word = item.word()?;
        let method = word.text.parse::<Method>().ok().filter(Method::is_idempotent);
        if method.is_none() {
            let problem = Problem::error("config::bad-value", format!("{} cannot be sent twice", word.shown()));
            word.note(problem.label("not idempotent").hint("possible: GET, HEAD, OPTIONS, PUT, DELETE (RFC 9110 §9.2.2)"));
        }
        method
    };
    Some(field.items().into_iter().filter_map(method).collect())
}

/// `20%`
pub(super) fn percent(field: Field<'_>) -> Option<u32> {
    let word = field.word()?;
    let number = word.text.strip_suffix('%').and_then(|digits| digits.trim_end().parse::<u32>().ok());
    number.filter(|number| *number <= 100).or_else(|| word.unusable("a share", "from 0% to 100%"))
}
