use std::sync::Arc;

use rhai::grain::Program;
use rhai::{AST, Dynamic, Position};

use super::objects::Object;
use crate::model::settings::{Mode, OnError};
use crate::model::{Hook, Name, Place, Source};

/// Lines of one file. The lines of library files follow at multiples of it, so that one line number names the file as well: Rhai
/// tells a verb its line, but not reliably its file.
pub(super) const FILE_LINES: usize = 2_048;
/// Library files; line numbers have 16 bits.
pub(super) const LIBRARIES: usize = 30;

/// One compiled rule.
pub(super) struct Rule {
    pub(super) card: RuleCard,
    /// Empty means every route.
    pub(super) routes: Vec<Name>,
    pub(super) hooks: [Option<Body>; 3],
    /// What `const` says, its own and that of the libraries it uses; few, so they are searched in order.
    pub(super) constants: Vec<(Box<str>, Dynamic)>,
    /// The rule's text and those of all libraries, in the order of their lines.
    pub(super) files: Files,
    pub(super) reads_response_headers: bool,
}

/// What is known about a rule without running it.
#[derive(Clone, Debug)]
pub struct RuleCard {
    /// The file's stem: in logs, metrics and reports.
    pub name: Name,
    /// The file as the configuration names it.
    pub file: Name,
    /// The first `//!` line.
    pub description: String,
    /// Whether what it records counts.
    pub mode: Mode,
    /// What its failure means.
    pub on_error: OnError,
    /// The hooks it has.
    pub hooks: Vec<Hook>,
    /// The claims it reads, sorted; what `claims: auto` of a decision log has to keep.
    pub claims: Vec<String>,
}

/// The body of one hook, for both machines.
pub(super) struct Body {
    /// Pushed as variables before the body runs; empty if every use was linked.
    pub(super) parameters: Vec<Object>,
    pub(super) tree: AST,
    /// It takes nothing but `claims`: what it records depends on the token alone.
    pub(super) knows_only_claims: bool,
    /// Where it begins.
    pub(super) position: Position,
    pub(super) bytecode: Arc<Program<'static>>,
}

/// Which file a line belongs to.
#[derive(Clone)]
pub(super) struct Files(Arc<[(Name, Arc<Source>)]>);

impl Rule {
    pub(super) fn name(&self) -> &Name {
        &self.card.name
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.card.mode == Mode::Shadow
    }

    pub(super) fn constant(&self, name: &str) -> Option<&Dynamic> {
        self.constants.iter().find(|(present, _)| **present == *name).map(|(_, value)| value)
    }

    pub(super) fn body(&self, hook: Hook) -> Option<&Body> {
        let [request, response, complete] = &self.hooks;
        match hook {
            Hook::Request => request.as_ref(),
            Hook::Response => response.as_ref(),
            Hook::Complete => complete.as_ref(),
        }
    }

    /// Whether it runs on `route`.
    pub(super) fn runs_on(&self, route: &str) -> bool {
        self.card.mode != Mode::Disabled && (self.routes.is_empty() || self.routes.iter().any(|name| **name == *route))
    }

    pub(super) fn place(&self, position: Position) -> Place {
        let line = position.line().unwrap_or(0);
        let (file, line) = self.files.locate(line).map_or((&self.card.file, line), |(name, _, line)| (name, line));
        Place { rule: Name::clone(&self.card.name), file: Name::clone(file), line: u32::try_from(line).unwrap_or(0) }
    }
}

impl Files {
    pub(super) fn new(rule: &Arc<Source>, libraries: &[Arc<Source>]) -> Self {
        Self(
            std::iter::once(rule).chain(libraries).map(|source| (Name::from(source.name.as_str()), Arc::clone(source))).collect(),
        )
    }

    /// Name and text of the file, and the line in it.
    pub(super) fn locate(&self, line: usize) -> Option<(&Name, &Arc<Source>, usize)> {
        let before = line.checked_sub(1)?;
        let (name, source) = self.0.get(before / FILE_LINES)?;
        Some((name, source, before % FILE_LINES + 1))
    }

    /// The text of a line.
    pub(super) fn line(&self, line: usize) -> Option<&str> {
        let (_, source, line) = self.locate(line)?;
        source.text.lines().nth(line - 1)
    }
}
