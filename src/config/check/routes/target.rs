use super::pattern::Pattern;
use super::{Known, answer};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Redirect, Target};

/// `upstream`, `respond` or `redirect`.
pub(super) fn lower(section: &Section<'_>, known: &Known<'_>, pattern: Option<&Pattern>) -> Option<Target> {
    let (upstream, respond, redirect) = (section.optional("upstream"), section.optional("respond"), section.optional("redirect"));
    for second in [respond.filter(|_| upstream.is_some()), redirect.filter(|_| upstream.or(respond).is_some())] {
        if let Some(second) = second {
            let problem =
                Problem::error("config::conflict", "a route has either an `upstream`, a fixed answer or a redirect, not several");
            second.note_at_key(problem.label("the second target").hint("remove one of them"));
        }
    }
    if let Some(field) = upstream {
        let word = field.word()?;
        if !known.upstreams.iter().any(|upstream| *upstream.name == *word.text) {
            let names: Vec<&str> = known.upstreams.iter().map(|upstream| &*upstream.name).collect();
            word.unknown("upstream", "not in `upstreams`", &names);
        }
        return Some(Target::Upstream(word.text.into()));
    }
    if let Some(field) = respond {
        return Some(Target::Respond(field.section(answer::lower)));
    }
    if let Some(field) = redirect {
        return redirect_to(field, pattern).map(Target::Redirect);
    }
    section.missing(
        "`upstream`, `respond` or `redirect` is missing",
        "name an upstream, or give the answer: respond: { status: 200, body: ok }",
    );
    None
}

fn redirect_to(field: Field<'_>, pattern: Option<&Pattern>) -> Option<Redirect> {
    field.section(|section| {
        let to = section.required("to", "for example https://www.example.com/{path}").and_then(|field| url(field, pattern));
        let statuses = [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
        let status = section.optional("status").map_or(Some(308), |field| field.one_of(&statuses));
        let keeps_query = section.optional("keep_query").and_then(Field::yes_or_no).unwrap_or(true);
        Some(Redirect { status: status?, to: to?, keeps_query })
    })
}

/// Where a redirect leads. Its scheme and host are written out: one that a client can choose is an open redirect.
fn url(field: Field<'_>, pattern: Option<&Pattern>) -> Option<String> {
    let word = field.word()?;
    let text = word.text;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let (authority, path) = match rest {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("here", text),
    };
    let is_host = authority.parse::<http::uri::Authority>().is_ok() && !authority.contains('@');
    if !is_host || (rest.is_none() && (!text.starts_with('/') || text.starts_with("//"))) {
        return word
            .unusable("where a redirect can lead", "https://, a host and a path, or a path; placeholders only in the path");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`|#".contains(&byte)) {
        return word.unusable("where a redirect can lead", "visible ASCII characters; escape the others with %");
    }
    let mut names = pattern.map(Pattern::names).unwrap_or_default();
    names.extend(["path", "rest"]);
    match placeholders(path) {
        Ok(used) => {
            if let Some(name) = used.into_iter().find(|name| !names.contains(name)) {
                return word
                    .unusable("where a redirect can lead", &format!("there is no {{{name}}}: known are {}", names.join(", ")));
            }
        }
        Err(()) => return word.unusable("where a redirect can lead", "a placeholder is a name in braces, as in {path}"),
    }
    Some(text.to_owned())
}

/// The names in braces.
fn placeholders(text: &str) -> Result<Vec<&str>, ()> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(())?;
        if before.contains('}') || !Pattern::is_placeholder(name) {
            return Err(());
        }
        names.push(name);
        rest = after;
    }
    if rest.contains('}') { Err(()) } else { Ok(names) }
}
