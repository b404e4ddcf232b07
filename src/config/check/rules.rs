use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::routes::Draft;
use super::{count, is_name, repeated};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{Mode, OnError, Rule, RuleLimits, Rules};
use crate::model::{Name, Problem, Source};

const EXTENSION: &str = ".rhai";
const LARGEST: usize = 256 << 10;

/// `rules:` and `rule_limits:`
pub(super) fn lower(top: &Section<'_>, routes: &[Draft<'_>], surroundings: &Surroundings<'_>) -> Rules {
    let limits = top.optional("rule_limits").map_or(LIMITS, limits);
    let mut reader =
        Reader { surroundings, routes, listed: BTreeMap::new(), has_unknown: false, entries: Vec::new(), library: Vec::new() };
    if let Some(field) = top.optional("rules") {
        for item in field.items() {
            item.section(|section| reader.rule(section));
        }
        reader.library(field);
        reader.warn_about_unlisted(field);
    }
    Rules { entries: reader.entries, library: reader.library, limits }
}

struct Reader<'a> {
    surroundings: &'a Surroundings<'a>,
    routes: &'a [Draft<'a>],
    /// By folder, the files that an entry names; the folder as it was written for reports.
    listed: BTreeMap<PathBuf, (PathBuf, Vec<String>)>,
    /// Whether an entry names a file that could not be determined.
    has_unknown: bool,
    entries: Vec<Rule>,
    library: Vec<(Name, Arc<Source>)>,
}

impl Reader<'_> {
    fn rule(&mut self, section: &Section<'_>) {
        section.not_built_yet("candidate", "use a second rule with `mode: shadow`");
        let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("disabled", Mode::Disabled)];
        let mode = section.optional("mode").and_then(|field| field.one_of(&modes));
        let on_error = section.optional("on_error");
        let on_error = on_error.and_then(|field| field.one_of(&[("deny", OnError::Deny), ("skip", OnError::Skip)]));
        let routes = section.optional("routes").map(|field| self.route_names(field)).unwrap_or_default();
        let word = section.required("file", "for example `file: rules/plan-routing.rhai`").and_then(Field::word);
        self.has_unknown |= word.is_none();
        let Some((name, source)) = word.and_then(|word| self.file(word)) else { return };
        self.entries.push(Rule {
            name,
            source,
            routes,
            mode: mode.unwrap_or(Mode::Enforce),
            on_error: on_error.unwrap_or(OnError::Deny),
        });
    }

    fn route_names(&self, field: Field<'_>) -> Vec<Name> {
        let mut names: Vec<Name> = Vec::new();
        for word in field.some_items("leave it out to apply the rule to every route").into_iter().filter_map(Field::word) {
            if !self.routes.iter().any(|draft| *draft.route.name == *word.text) {
                let known: Vec<&str> = self.routes.iter().filter_map(Draft::shown_name).collect();
                word.unknown("route", "not in `routes`", &known);
            } else if names.iter().any(|name| **name == *word.text) {
                word.note(
                    Problem::warning("config::duplicate-name", format!("{} is there twice", word.shown_or("this route")))
                        .label("again"),
                );
            } else {
                names.push(word.text.into());
            }
        }
        names
    }

    fn file(&mut self, word: Word<'_>) -> Option<(Name, Arc<Source>)> {
        let written = Path::new(word.text);
        let (Some(file), Some(stem)) = (written.file_name().and_then(|n| n.to_str()), word.text.strip_suffix(EXTENSION)) else {
            return word.unusable("a rule file", "rule files end in .rhai");
        };
        let rule: Name = stem.rsplit('/').next().unwrap_or_default().into();
        if !is_name(&rule) {
            return word.unusable("a rule file", "a rule is called after its file: letters, digits, `-`, `_` and `.`");
        }
        let path = self.surroundings.resolve(written);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        // A folder that was filled in is not repeated in reports.
        let shown = written.parent().filter(|_| word.is_written());
        let written_folder = shown.unwrap_or(Path::new("")).to_owned();
        self.listed.entry(folder).or_insert_with(|| (written_folder, Vec::new())).1.push(file.to_owned());
        if self.entries.iter().any(|earlier| earlier.name == rule) {
            repeated(word, "rule");
            return None;
        }
        match self.surroundings.text(&path, LARGEST) {
            Ok(text) => Some((rule, Arc::new(Source { name: word.text.to_owned(), text }))),
            Err(fault) => {
                let message = format!("{} cannot be used: {fault}", word.shown_or("this rule file"));
                let problem = Problem::error("config::unreadable-file", message).label("this file");
                word.note(problem.hint("paths begin at the folder of the configuration"));
                None
            }
        }
    }

    /// Reads the folder `lib` beside the rules.
    fn library(&mut self, field: Field<'_>) {
        for (folder, (written, _)) in &self.listed {
            for file in rhai_files(self.surroundings.names(&folder.join("lib"))) {
                let name = written.join("lib").join(&file).display().to_string();
                let stem: Name = file.strip_suffix(EXTENSION).unwrap_or(&file).into();
                let note = |code, message: String| field.note_at_key(Problem::error(code, message).label("reads its libraries"));
                if self.library.iter().any(|(taken, _)| *taken == stem) {
                    note("config::duplicate-name", format!("two libraries are called `{stem}`; the second one is `{name}`"));
                    continue;
                }
                match self.surroundings.text(&folder.join("lib").join(&file), LARGEST) {
                    Ok(text) => self.library.push((stem, Arc::new(Source { name, text }))),
                    Err(fault) => note("config::unreadable-file", format!("the library `{name}` cannot be used: {fault}")),
                }
            }
        }
    }

    fn warn_about_unlisted(&self, field: Field<'_>) {
        if self.has_unknown {
            return;
        }
        for (folder, (written, listed)) in &self.listed {
            for file in rhai_files(self.surroundings.names(folder)).filter(|file| !listed.contains(file)) {
                let message = format!("`{}` is not listed, so it never runs", written.join(file).display());
                let problem = Problem::warning("config::unused-rule", message).label("not in this list");
                field.note_at_key(problem.hint("add it, if only with `mode: disabled`, or delete the file"));
            }
        }
    }
}

/// Without hidden ones, which editors leave behind.
fn rhai_files(names: Vec<String>) -> impl Iterator<Item = String> {
    names.into_iter().filter(|name| name.ends_with(EXTENSION) && !name.starts_with('.'))
}

const LIMITS: RuleLimits = RuleLimits { operations: 50_000, time: Duration::from_millis(5), string_bytes: 16 << 10 };

fn limits(field: Field<'_>) -> RuleLimits {
    field.section(|section| {
        let operations = section.optional("operations").and_then(|field| field.number(100..=10_000_000));
        let time = section.optional("time");
        let time = time.and_then(|field| field.duration(Duration::from_millis(1)..=Duration::from_secs(1)));
        let string_bytes = section.optional("string_bytes").and_then(|field| field.bytes(256..=1 << 20));
        RuleLimits {
            operations: operations.unwrap_or(LIMITS.operations),
            time: time.unwrap_or(LIMITS.time),
            string_bytes: count(string_bytes).unwrap_or(LIMITS.string_bytes),
        }
    })
}
