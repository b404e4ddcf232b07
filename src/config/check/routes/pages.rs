use std::path::Path;

use crate::config::environment::Surroundings;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::ErrorPages;

/// What a template may say.
const PLACEHOLDERS: [&str; 4] = ["status", "title", "reason", "request_id"];

/// `error_pages:`
pub(in crate::config::check) fn error_pages(top: &Section<'_>, surroundings: &Surroundings<'_>) -> ErrorPages {
    let Some(field) = top.optional("error_pages") else { return ErrorPages::Off };
    field.section(|section| {
        let Some(field) = section.optional("html") else { return ErrorPages::Off };
        if field.is_word_that(|text| matches!(text, "true" | "false")) {
            return if field.yes_or_no() == Some(true) { ErrorPages::Standard } else { ErrorPages::Off };
        }
        field.word().and_then(|word| template(word, surroundings)).unwrap_or_default()
    })
}

fn template(word: Word<'_>, surroundings: &Surroundings<'_>) -> Option<ErrorPages> {
    const LARGEST: usize = 64 << 10;
    let path = surroundings.resolve(Path::new(word.text));
    let text = match surroundings.text(&path, LARGEST) {
        Ok(text) => text,
        Err(fault) => {
            let message = format!("{} cannot be used: {fault}", word.shown_or("this page"));
            let problem = Problem::error("config::unreadable-file", message).label("this file");
            word.note(problem.hint("write `true` for the page that is built in; paths begin at the folder of the configuration"));
            return None;
        }
    };
    // Braces are common in style sheets; only a single word in them is a placeholder.
    for rest in text.split('{').skip(1) {
        let Some((name, _)) = rest.split_once('}') else { continue };
        let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_word && !PLACEHOLDERS.contains(&name) {
            return word.unusable(
                "a page that can be filled in",
                &format!("it says {{{name}}}; known are {{status}}, {{title}}, {{reason}} and {{request_id}}"),
            );
        }
    }
    Some(ErrorPages::Template(text))
}
