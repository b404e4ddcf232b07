use std::sync::Arc;

use rhai::{AST, ASTFlags, Dynamic, Engine, LexError, ParseError, ParseErrorType, Position, Scope, Stmt};

use super::lint::anatomy::{Function, functions};
use super::program::{FILE_LINES, Files};
use super::text::closest;
use crate::model::{Problem, Source};

/// Bytes of one file: far more than a rule that people can read, few enough to be parsed in milliseconds whatever is in it.
const FILE_BYTES: usize = 64 * 1024;
/// Brackets that are open at the same time, in the text: Rhai's parser is recursive, and its own limit does not count all of them.
const BRACKETS: usize = 100;

/// A file that can be parsed, and what is in it.
pub(super) struct Parsed {
    pub(super) tree: AST,
    pub(super) functions: Vec<Function>,
    pub(super) constants: Vec<(String, Position)>,
}

/// Parses the file that begins at `first_line` (a multiple of [`FILE_LINES`]) of `files`.
pub(super) fn parse(engine: &Engine, source: &Arc<Source>, first_line: usize, files: &Files) -> Result<Parsed, Vec<Problem>> {
    too_large(source).map_or(Ok(()), |problem| Err(vec![problem]))?;
    let text = padded(source, first_line);
    let tree = engine.compile(text).map_err(|error| vec![syntax(&error, files, first_line)])?;
    let mut constants = Vec::new();
    let mut problems = Vec::new();
    for statement in tree.statements() {
        match statement {
            Stmt::Var(parts, flags, _) if flags.contains(ASTFlags::CONSTANT) => {
                constants.push((parts.0.name.to_string(), parts.0.pos))
            }
            Stmt::Noop(_) => {}
            other => {
                let problem = Problem::error("rule::top-level", "only constants and functions can stand here")
                    .label("would never run")
                    .hint(
                        "put statements into a hook, for example `fn on_request(claims) { … }`; write `const` instead of `let`",
                    );
                problems.push(files.at(other.position(), problem));
            }
        }
    }
    if problems.is_empty() { Ok(Parsed { functions: functions(&tree), tree, constants }) } else { Err(problems) }
}

impl Parsed {
    /// Computes the constants, once for all requests.
    pub(super) fn constants(&self, engine: &Engine, files: &Files) -> Result<Scope<'static>, Problem> {
        let mut scope = Scope::new();
        let evaluated = engine.eval_ast_with_scope::<Dynamic>(&mut scope, &self.tree.clone_statements_only());
        let refused = evaluated.err().map(|error| (error.position(), error.unwrap_inner().to_string())).or_else(|| {
            let mut given = self.constants.iter().zip(scope.iter());
            let open = given.find(|(_, (_, _, value))| !is_closed(value))?;
            Some((open.0.1, "the value is no text, number, boolean, list, object or range".to_owned()))
        });
        match refused {
            None => Ok(scope),
            Some((position, message)) => {
                let message = message.split(" (line ").next().unwrap_or_default().to_lowercase();
                let problem = Problem::error("rule::constant", format!("a constant cannot be computed: {message}"))
                    .label("fails here")
                    .hint("constants are computed before there is a request, from literals and Rhai's own functions");
                Err(files.at(position, problem))
            }
        }
    }

    /// Parses again, knowing the constants, so that every other name must be a local variable.
    pub(super) fn strictly(
        &self,
        engine: &Engine,
        source: &Arc<Source>,
        first_line: usize,
        scope: &Scope<'_>,
        files: &Files,
    ) -> Result<AST, Problem> {
        engine.compile_with_scope(scope, padded(source, first_line)).map_err(|error| match (&*error.0, error.1) {
            (ParseErrorType::VariableUndefined(name), position) => {
                let constants = self.constants.iter().map(|(name, _)| name.as_str());
                let locals =
                    self.functions.iter().flat_map(|f| f.parameters.iter().chain(f.declared.iter().map(|(name, _)| name)));
                let problem =
                    Problem::error("rule::unknown-variable", format!("there is no variable `{name}` here")).label("not defined");
                let problem = match closest(name, constants.chain(locals.map(String::as_str))) {
                    Some(close) => problem.hint(format!("did you mean `{close}`?")),
                    None if ["request", "response", "claims"].contains(&name.as_str()) => {
                        problem.hint(format!("add `{name}` to the parameters of the function"))
                    }
                    None => problem.hint("functions see their parameters, their own variables, and constants"),
                };
                files.at(position, problem)
            }
            (ParseErrorType::ModuleUndefined(name), position) => {
                let problem = Problem::error("rule::unknown-library", format!("there is no library `{name}`")).label("not found");
                files.at(position, problem.hint(format!("`{name}::…` would be in rules/lib/{name}.rhai")))
            }
            _ => syntax(&error, files, first_line),
        })
    }
}

/// Before the text come as many empty lines as place it where its line numbers belong.
fn padded(source: &Source, first_line: usize) -> String {
    let mut text = "\n".repeat(first_line);
    text.push_str(&source.text);
    text
}

fn too_large(source: &Arc<Source>) -> Option<Problem> {
    let refused = |message: String| Some(Problem::error("rule::too-large", message).at(source, crate::model::Span::default()));
    if source.text.len() > FILE_BYTES {
        return refused(format!("the file has {} bytes; a rule has at most {FILE_BYTES}", source.text.len()));
    }
    let (mut lines, mut depth, mut deepest) = (1_usize, 0_usize, 0_usize);
    for byte in source.text.bytes() {
        match byte {
            b'\n' => lines += 1,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if lines >= FILE_LINES {
        return refused(format!("the file has {lines} lines; a rule has fewer than {FILE_LINES}"));
    }
    if deepest > BRACKETS {
        return refused(format!("{deepest} brackets are open at the same time; {BRACKETS} may be"));
    }
    None
}

fn syntax(error: &ParseError, files: &Files, first_line: usize) -> Problem {
    let ParseError(kind, position) = error;
    let position = if position.is_none() { Position::new(u16::try_from(first_line + 1).unwrap_or(1), 1) } else { *position };
    let (message, hint) = match &**kind {
        ParseErrorType::Reserved(word) if word == "import" || word == "export" => {
            (format!("there is no `{word}`"), Some("files in rules/lib are there without it: `plans::limit_for(…)`".to_owned()))
        }
        ParseErrorType::Reserved(word) => {
            (format!("`{word}` is a word of the language"), Some(format!("for a claim of this name write `claims[\"{word}\"]`")))
        }
        ParseErrorType::BadInput(LexError::ImproperSymbol(word, text)) if text.contains("disabled") => {
            (format!("`{word}` is not available in rules"), None)
        }
        ParseErrorType::TooManyFunctions => ("the file has too many functions".to_owned(), None),
        ParseErrorType::ExprTooDeep => {
            ("the expression is nested too deeply".to_owned(), Some("compute parts of it first".to_owned()))
        }
        other => {
            let text = other.to_string();
            let mut letters = text.chars();
            (letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect()), None)
        }
    };
    let problem = files.at(position, Problem::error("rule::syntax", message).label("here"));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Plain data: nothing that could compute, or be changed by one request and seen by another.
fn is_closed(value: &Dynamic) -> bool {
    if let Ok(items) = value.as_array_ref() {
        return items.iter().all(is_closed);
    }
    if let Ok(members) = value.as_map_ref() {
        return members.values().all(is_closed);
    }
    let range = value.is::<std::ops::Range<rhai::INT>>() || value.is::<std::ops::RangeInclusive<rhai::INT>>();
    range || value.is_unit() || value.is_bool() || value.is_int() || value.is_float() || value.is_string() || value.is_char()
}
