use super::pattern::Pattern;
use crate::config::field::Field;
use crate::config::word::Word;
use crate::model::settings::Rewrite;
use crate::model::{CanonicalPath, Problem};

/// `rewrite`
pub(super) fn lower(field: Field<'_>, pattern: Option<&Pattern>) -> Option<Rewrite> {
    field.section(|section| {
        let (prefix, path) = (section.optional("prefix"), section.optional("path"));
        match (prefix, path) {
            (Some(prefix), None) => replaced(prefix, pattern),
            (None, Some(path)) => template(path, pattern),
            (Some(_), Some(path)) => {
                let problem = Problem::error("config::conflict", "a path is rewritten by `prefix` or by `path`, not by both");
                path.note_at_key(problem.label("the second one").hint("remove one of them"));
                None
            }
            (None, None) => {
                section.missing("`prefix` or `path` is missing", "for example rewrite: { prefix: /internal }");
                None
            }
        }
    })
}

fn replaced(field: Field<'_>, pattern: Option<&Pattern>) -> Option<Rewrite> {
    let word = field.word()?;
    if pattern.is_some_and(|pattern| !pattern.is_open()) {
        let problem = Problem::error("config::conflict", "a prefix can only be replaced where the pattern ends in `/**`");
        field.note_at_key(problem.label("the pattern has no rest").hint("write rewrite: { path: … }"));
    }
    let path = word.text.strip_suffix('/').unwrap_or(word.text);
    if !path.is_empty() || word.text != "/" {
        literal(word, path)?;
    }
    Some(Rewrite::Prefix(path.to_owned()))
}

fn literal(word: Word<'_>, path: &str) -> Option<()> {
    match CanonicalPath::parse(path) {
        Ok(canonical) if canonical.as_str() == path => Some(()),
        Ok(canonical) => word.unusable("a path in its one spelling", &format!("write `{canonical}`")),
        Err(_) => word.unusable("a path", "it begins with `/` and has no `.`, `..` or empty segments"),
    }
}

fn template(field: Field<'_>, pattern: Option<&Pattern>) -> Option<Rewrite> {
    let word = field.word()?;
    let written = match Pattern::parse(word.text) {
        Ok(written) => written,
        Err(hint) => return word.unusable("the template of a path", &hint),
    };
    if written.has_anonymous() {
        return word
            .unusable("the template of a path", "give the segment a name in the route's pattern, as in /v1/{id}, and use it");
    }
    // A pattern that could not be read has a problem of its own.
    let Some(pattern) = pattern else { return Some(Rewrite::Path(word.text.to_owned())) };
    let known = pattern.names();
    if let Some(name) = written.names().into_iter().find(|name| !known.contains(name)) {
        let hint = if known.is_empty() { "it has no names".to_owned() } else { format!("its names are {}", known.join(", ")) };
        return word.unusable("possible here", &format!("the route's pattern has no {{{name}}}; {hint}"));
    }
    if written.is_open() && !pattern.is_open() {
        return word.unusable("possible here", "the route's pattern has no `/**` that could be repeated");
    }
    Some(Rewrite::Path(word.text.to_owned()))
}
