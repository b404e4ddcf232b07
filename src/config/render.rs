use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};

use crate::model::{Problem, Severity, Source, Span};

/// How a report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With or without ANSI colors.
    pub paint: Paint,
    /// Columns at which sentences are wrapped.
    pub width: usize,
}

/// Colors or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// For logs, files, and where `NO_COLOR` is set.
    Plain,
    /// For terminals.
    Color,
}

impl Default for Style {
    fn default() -> Self {
        Self { paint: Paint::Plain, width: 100 }
    }
}

/// Problems as a compiler prints them: code, sentence, `file:line:column`, the line with a caret, the way out.
pub fn render(problems: &[Problem], style: Style) -> String {
    const MOST: usize = 100;
    let theme = match style.paint {
        Paint::Plain => GraphicalTheme::unicode_nocolor(),
        Paint::Color => GraphicalTheme::unicode(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(style.width).with_links(false).without_cause_chain();
    let mut report = String::new();
    let mut page: Option<(&Arc<Source>, String)> = None;
    for problem in problems.iter().take(MOST) {
        if let Some((source, _)) = &problem.at
            && !page.as_ref().is_some_and(|(shown, _)| Arc::ptr_eq(shown, source))
        {
            page = Some((source, printable(&source.text)));
        }
        if !report.is_empty() {
            report.push('\n');
        }
        let text = page.as_ref().map_or("", |(_, text)| text);
        if handler.render_report(&mut report, &Sheet::new(problem, text)).is_err() {
            // Only a span outside of its text gets here; the sentence is worth more than the picture.
            report.push_str(&problem.message);
        }
    }
    if problems.len() > MOST {
        report.push_str(&format!("\n… and {} more\n", problems.len() - MOST));
    }
    report
}

/// The same as a JSON array of objects with `code`, `severity`, `message`, `file`, `line`, `column`, `label` and `hint`.
pub fn render_json(problems: &[Problem]) -> String {
    let list: Vec<_> = problems
        .iter()
        .map(|problem| {
            let (line, column) = problem.line_and_column().unzip();
            serde_json::json!({
                "code": problem.code,
                "severity": match problem.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                "message": problem.message,
                "file": problem.at.as_ref().map(|(source, _)| source.name.as_str()),
                "line": line,
                "column": column,
                "label": problem.label,
                "hint": problem.hint,
            })
        })
        .collect();
    format!("{:#}", serde_json::Value::Array(list))
}

/// The text as long as before, without the characters that steer a terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => out.push(c),
            c if c.is_control() => (0..c.len_utf8()).for_each(|_| out.push('?')),
            c => out.push(c),
        }
    }
    // A caret at the very end needs something to stand under.
    out.push('\n');
    out
}

/// A problem as miette wants to see it.
struct Sheet<'a> {
    message: String,
    label: Option<LabeledSpan>,
    excerpt: Option<Excerpt<'a>>,
    problem: &'a Problem,
}

struct Excerpt<'a> {
    name: &'a str,
    text: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Sheet<'a> {
    fn new(problem: &'a Problem, text: &'a str) -> Self {
        let message = problem.message.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let mut sheet = Self { message, label: None, excerpt: None, problem };
        let (Some((source, span)), Some((line, column))) = (&problem.at, problem.line_and_column()) else {
            return sheet;
        };
        if is_too_wide(text, *span) {
            sheet.message.push_str(&format!(" ({}:{line}:{column})", source.name));
            return sheet;
        }
        let start = span.start.min(text.len().saturating_sub(1));
        let within = text.get(start..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
        // One line is enough to point at, and a block of secrets is not drawn as a bracket over all of them.
        sheet.label = Some(LabeledSpan::new(problem.label.clone(), start, span.length.min(within)));
        sheet.excerpt = Some(Excerpt { name: &source.name, text, line, column });
        sheet
    }
}

/// Whether the line or one of its neighbours would fill the screen.
fn is_too_wide(text: &str, span: Span) -> bool {
    const WIDEST: usize = 400;
    let before = text.get(..span.start).unwrap_or_default();
    let behind = text.get(span.start..).unwrap_or_default();
    let nearby = before.rsplit('\n').take(2).map(str::len).chain(behind.split('\n').take(2).map(str::len));
    nearby.max().unwrap_or(0) > WIDEST
}

impl fmt::Display for Sheet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Sheet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Sheet<'_> {}

impl Diagnostic for Sheet<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.label.clone().map(|label| Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, lines_before, lines_after)?;
        // miette counts columns in bytes and asks for its headline without any lines around; people count characters.
        let (line, column) = match (lines_before, lines_after) {
            (0, 0) => (self.line.saturating_sub(1), self.column.saturating_sub(1)),
            _ => (inner.line(), inner.column()),
        };
        let contents =
            MietteSpanContents::new_named(self.name.to_owned(), inner.data(), *inner.span(), line, column, inner.line_count());
        Ok(Box::new(contents))
    }
}
