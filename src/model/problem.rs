use std::sync::Arc;

/// One thing that is wrong with the configuration or with a rule, with the place and a way out.
///
/// Problems are collected, never thrown one by one: an operator sees all of them at once.
#[derive(Clone, Debug)]
pub struct Problem {
    /// A stable code, for example `config::unknown-key` or `rule::unknown-upstream`.
    pub code: &'static str,
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// One sentence, lower case, without a full stop. Never contains a secret.
    pub message: String,
    /// Where; `None` for what is missing altogether.
    pub at: Option<(Arc<Source>, Span)>,
    /// Two or three words under the caret.
    pub label: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used; `--strict` refuses it.
    Warning,
}

/// A text that an operator wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the operator names it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A piece of a [`Source`], in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// How many bytes; 0 is a caret between two.
    pub length: usize,
}

impl Problem {
    /// An error at a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), at: None, label: None, hint: None }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Span) -> Self {
        self.at = Some((Arc::clone(source), span));
        self
    }

    /// Adds the words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Line and column, both from 1, of the first byte.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let (source, span) = self.at.as_ref()?;
        let before = source.text.get(..span.start.min(source.text.len()))?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((line, column))
    }
}
