use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::grain::Compiler;
use rhai::{AST, ASTNode, Dynamic, Engine, ImmutableString, Module, Scope};

use super::link::Linker;
use super::lint::anatomy::{Function, alone};
use super::lint::{self, Kind, Known, Library, Subject};
use super::objects::{self, Object};
use super::parse::{Parsed, parse};
use super::program::{Body, FILE_LINES, Files, LIBRARIES, Rule, RuleCard};
use super::vocabulary::Vocabulary;
use super::{Clock, budget, evaluation, sandbox, verbs};
use crate::model::settings::{self, Rules};
use crate::model::{Hook, Name, Problem, Severity, Source};

/// All rules, compiled together with the engine that runs them, and everything that is wrong with them.
pub(super) struct Compiled {
    pub(super) engine: Engine,
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) problems: Vec<Problem>,
}

/// A library file in the making.
struct Shared {
    namespace: Name,
    parsed: Parsed,
    /// Strictly parsed; what is run.
    tree: AST,
    constants: Scope<'static>,
}

/// Compiles everything, whatever is wrong with parts of it, so that all problems are told at once.
pub(super) fn compile(rules: &Rules, vocabulary: &Vocabulary, clock: Clock) -> Compiled {
    let mut compiler = Compilation::new(rules, vocabulary, clock);
    let libraries = compiler.libraries();
    let mut texts: Vec<_> = rules.entries.iter().map(|entry| compiler.parse_rule(entry)).collect();
    compiler.register(&libraries, &texts);
    compiler.examine_libraries(&libraries);
    let compiled = texts.iter_mut().map(|text| compiler.rule(text, &libraries)).collect::<Vec<_>>();
    let rules = compiled.into_iter().flatten().map(Arc::new).collect();
    Compiled { engine: compiler.engine, rules, problems: compiler.problems }
}

/// A rule's file, parsed or not.
struct Text<'r> {
    entry: &'r settings::Rule,
    files: Files,
    parsed: Option<Parsed>,
}

struct Compilation<'c> {
    engine: Engine,
    rules: &'c Rules,
    vocabulary: &'c Vocabulary,
    clock: Clock,
    known: Known,
    problems: Vec<Problem>,
}

impl<'c> Compilation<'c> {
    fn new(rules: &'c Rules, vocabulary: &'c Vocabulary, clock: Clock) -> Self {
        let mut engine = sandbox::engine(&rules.limits);
        verbs::register(&mut engine);
        // Named deprecated only to say that it may change; the version is pinned.
        #[allow(deprecated)]
        engine.on_var(|name, _, _| evaluation::lookup(name));
        for (namespace, _) in &rules.library {
            engine.register_static_module(namespace.as_ref(), Module::new().into());
        }
        Self { engine, rules, vocabulary, clock, known: Known::default(), problems: Vec::new() }
    }

    fn libraries(&mut self) -> Vec<Shared> {
        let files = Files::new(&Arc::new(Source { name: String::new(), text: String::new() }), &self.library_sources());
        if self.rules.library.len() > LIBRARIES {
            let message = format!("there are {} library files; {LIBRARIES} are possible", self.rules.library.len());
            self.problems.push(Problem::error("rule::too-large", message));
            return Vec::new();
        }
        let mut libraries = Vec::new();
        for (index, (namespace, source)) in self.rules.library.iter().enumerate() {
            let first_line = (index + 1) * FILE_LINES;
            match self.library(namespace, source, first_line, &files) {
                Ok(library) => libraries.push(library),
                Err(problems) => self.problems.extend(problems),
            }
        }
        libraries
    }

    fn library(
        &mut self,
        namespace: &Name,
        source: &Arc<Source>,
        first_line: usize,
        files: &Files,
    ) -> Result<Shared, Vec<Problem>> {
        let parsed = parse(&self.engine, source, first_line, files)?;
        let (tree, constants) = self.strictly(&parsed, source, first_line, files).map_err(|problem| vec![problem])?;
        let exported = Library {
            functions: super::lint::anatomy::functions(&parsed.tree),
            constants: parsed.constants.iter().map(|(name, _)| name.clone()).collect(),
        };
        self.known.libraries.insert(namespace.to_string(), exported);
        Ok(Shared { namespace: Arc::clone(namespace), parsed, tree, constants })
    }

    fn strictly(
        &mut self,
        parsed: &Parsed,
        source: &Arc<Source>,
        first_line: usize,
        files: &Files,
    ) -> Result<(AST, Scope<'static>), Problem> {
        budget::refill(&self.rules.limits, (self.clock)(), self.clock);
        let constants = parsed.constants(&self.engine, files)?;
        self.engine.set_strict_variables(true);
        let tree = parsed.strictly(&self.engine, source, first_line, &constants, files);
        self.engine.set_strict_variables(false);
        Ok((tree?, constants))
    }

    fn library_sources(&self) -> Vec<Arc<Source>> {
        self.rules.library.iter().map(|(_, source)| Arc::clone(source)).collect()
    }

    fn parse_rule(&mut self, entry: &'c settings::Rule) -> Text<'c> {
        let files = Files::new(&entry.source, &self.library_sources());
        let parsed = parse(&self.engine, &entry.source, 0, &files).map_err(|problems| self.problems.extend(problems)).ok();
        Text { entry, files, parsed }
    }

    /// The objects, with a getter for every property that any file reads, and the libraries.
    fn register(&mut self, libraries: &[Shared], texts: &[Text<'_>]) {
        let files = libraries.iter().map(|library| &library.parsed).chain(texts.iter().filter_map(|text| text.parsed.as_ref()));
        let properties: BTreeSet<&str> =
            files.flat_map(|file| &file.functions).flat_map(|function| &function.properties).map(String::as_str).collect();
        objects::register(&mut self.engine, properties);
        for library in libraries {
            budget::refill(&self.rules.limits, (self.clock)(), self.clock);
            // The constants were computed already, so this only wraps functions and cannot fail.
            if let Ok(mut module) = Module::eval_ast_as_new(Scope::new(), &library.tree, &self.engine) {
                for (name, _, value) in library.constants.iter() {
                    module.set_var(name, value);
                }
                self.engine.register_static_module(library.namespace.as_ref(), module.into());
            }
        }
        self.known.natives = Known::natives_of(&self.engine);
    }

    fn examine_libraries(&mut self, libraries: &[Shared]) {
        let files = Files::new(&Arc::new(Source { name: String::new(), text: String::new() }), &self.library_sources());
        for library in libraries {
            let subject = self.subject(&files, &library.parsed, Kind::Library);
            let problems = lint::examine(&subject);
            self.problems.extend(problems);
        }
    }

    fn subject<'s>(&'s self, files: &'s Files, parsed: &'s Parsed, kind: Kind) -> Subject<'s> {
        Subject {
            files,
            functions: &parsed.functions,
            constants: &parsed.constants,
            kind,
            vocabulary: self.vocabulary,
            known: &self.known,
        }
    }

    fn rule(&mut self, text: &mut Text<'_>, libraries: &[Shared]) -> Option<Rule> {
        let parsed = text.parsed.take()?;
        let subject = self.subject(&text.files, &parsed, Kind::Rule);
        let found = lint::examine(&subject);
        let card = card(text.entry, &subject);
        let is_sound = !found.iter().any(|problem| problem.severity == Severity::Error);
        let reads_response_headers =
            parsed.functions.iter().chain(self.known.libraries.values().flat_map(|l| &l.functions)).any(|f| f.reads_headers);
        self.problems.extend(found);
        let (tree, constants) = match self.strictly(&parsed, &text.entry.source, 0, &text.files) {
            Ok(strict) => strict,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        if !is_sound {
            return None;
        }
        let used: Vec<_> =
            libraries.iter().filter(|library| used(libraries, &parsed.functions).contains(&*library.namespace)).collect();
        let mut linked = Linked::new(&tree, &used);
        let hooks = Hook::ALL.map(|hook| linked.body(&tree, hook, &parsed.functions));
        let all = std::iter::once(&constants).chain(used.iter().map(|library| &library.constants));
        Some(Rule {
            card,
            routes: text.entry.routes.clone(),
            hooks,
            constants: all.flat_map(|scope| scope.iter().map(|(name, _, value)| (name.into(), read_only(value)))).collect(),
            files: text.files.clone(),
            reads_response_headers,
        })
    }
}

/// Whoever gets a constant gets a copy; it stays what it is.
fn read_only(value: Dynamic) -> Dynamic {
    value.flatten().into_read_only()
}

/// The namespaces that these functions use, directly or through a library.
fn used<'l>(libraries: &'l [Shared], functions: &[Function]) -> BTreeSet<&'l str> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&[Function]> = vec![functions];
    while let Some(functions) = waiting.pop() {
        for library in libraries {
            let names = |function: &Function| {
                function.calls.iter().any(|call| call.namespace.as_deref() == Some(&*library.namespace))
                    || function.constants.iter().any(|(namespace, ..)| *namespace == *library.namespace)
            };
            if functions.iter().any(names) && found.insert(&*library.namespace) {
                waiting.push(&library.parsed.functions);
            }
        }
    }
    found
}

/// The functions of a rule and of the libraries it uses as one module.
struct Linked {
    functions: rhai::Shared<Module>,
    hashes: BTreeMap<(ImmutableString, ImmutableString, usize), u64>,
}

impl Linked {
    fn new(tree: &AST, used: &[&Shared]) -> Self {
        let mut module = Module::new();
        let mut taken = BTreeSet::new();
        for function in tree.iter_fn_def().filter(|function| Hook::ALL.iter().all(|hook| hook.name() != function.name.as_str())) {
            module.set_script_fn(Arc::clone(function));
            taken.insert((function.name.clone(), function.params.len()));
        }
        let mut hashes = BTreeMap::new();
        for library in used {
            // Two functions of one name cannot both be copied; then this library's stay in their module.
            let names: Vec<_> = library.tree.iter_fn_def().map(|f| (f.name.clone(), f.params.len())).collect();
            if names.iter().any(|name| !name.0.starts_with("anon$") && taken.contains(name)) {
                continue;
            }
            taken.extend(names);
            for function in library.tree.iter_fn_def() {
                let hash = module.set_script_fn(Arc::clone(function));
                hashes.insert((library.namespace.as_ref().into(), function.name.clone(), function.params.len()), hash);
            }
        }
        Self { functions: module.into(), hashes }
    }

    fn body(&mut self, tree: &AST, hook: Hook, functions: &[Function]) -> Option<Body> {
        let function = functions.iter().find(|function| function.name == hook.name())?;
        let definition = tree.iter_fn_def().find(|definition| definition.name == hook.name())?;
        let mut parameters: Vec<_> = function.parameters.iter().filter_map(|name| Object::named(name)).collect();
        let knows_only_claims = parameters.iter().all(|object| matches!(object, Object::Claims));
        let mut statements = Vec::new();
        alone(definition).walk(&mut |path| {
            if let [ASTNode::Stmt(statement)] = path {
                statements.push((*statement).clone());
            }
            true
        });
        let mut linker = Linker { parameters: &parameters, functions: &self.hashes, needs_parameters: false };
        linker.statements(&mut statements);
        if !linker.needs_parameters {
            parameters.clear();
        }
        let tree = AST::new(statements, Arc::clone(&self.functions));
        let bytecode = Arc::new(Compiler::new().compile(&tree));
        Some(Body { parameters, tree, knows_only_claims, position: function.body, bytecode })
    }
}

fn card(entry: &settings::Rule, subject: &Subject<'_>) -> RuleCard {
    let first = entry.source.text.lines().find_map(|line| line.trim_start().strip_prefix("//!"));
    let hooks: Vec<_> = Hook::ALL.into_iter().filter(|hook| subject.functions.iter().any(|f| f.name == hook.name())).collect();
    let reachable = hooks.iter().flat_map(|hook| lint::reachable(subject, *hook));
    let claims: BTreeSet<String> = reachable.flat_map(claims_read).collect();
    RuleCard {
        name: Arc::clone(&entry.name),
        file: entry.source.name.as_str().into(),
        description: first.unwrap_or_default().trim().to_owned(),
        mode: entry.mode,
        on_error: entry.on_error,
        hooks,
        claims: claims.into_iter().collect(),
    }
}

fn claims_read(function: &Function) -> Vec<String> {
    let by_method = function.calls.iter().filter(|call| call.is_method).filter_map(|call| match call.name.as_str() {
        "has_role" => Some("roles"),
        "has_scope" => Some("scope"),
        "has_permission" => Some("permissions"),
        _ => None,
    });
    let read = function.reads.iter().filter(|read| read.object == Object::Claims).map(|read| read.name.as_str());
    by_method.chain(read).map(str::to_owned).collect()
}
