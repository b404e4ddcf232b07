use std::sync::Arc;

use rhai::{AST, ASTNode, BinaryExpr, Dynamic, Expr, FnCallExpr, FnPtr, Module, Position, ScriptFuncDef, Stmt};

use crate::rules::objects::Object;
use crate::rules::verbs::Verb;

/// What one function of a file consists of, as far as the checks need it.
#[derive(Default)]
pub(in crate::rules) struct Function {
    pub(in crate::rules) name: String,
    pub(in crate::rules) parameters: Vec<String>,
    /// The opening brace.
    pub(in crate::rules) body: Position,
    pub(in crate::rules) calls: Vec<Call>,
    pub(in crate::rules) reads: Vec<Read>,
    /// The functions that Rhai makes of `|x| …`.
    pub(in crate::rules) closures: Vec<String>,
    /// Local variables.
    pub(in crate::rules) declared: Vec<(String, Position)>,
    /// Objects that are assigned to, as a whole or in part.
    pub(in crate::rules) assigned: Vec<(Object, Position)>,
    /// Constants of libraries: namespace and name.
    pub(in crate::rules) constants: Vec<(String, String, Position)>,
    /// Every property that is read, of whatever value.
    pub(in crate::rules) properties: Vec<String>,
    /// Reads the headers of something that is not the request.
    pub(in crate::rules) reads_headers: bool,
    /// Local variables that closures refer to.
    pub(in crate::rules) captured: Vec<String>,
    /// Variables whose methods are called with something that may be a closure.
    pub(in crate::rules) called_back: Vec<(String, Position)>,
    /// Statements after one that ends the function.
    pub(in crate::rules) unreachable: Vec<Position>,
}

/// A call by name; operators are calls as well.
pub(in crate::rules) struct Call {
    pub(in crate::rules) namespace: Option<String>,
    pub(in crate::rules) name: String,
    pub(in crate::rules) position: Position,
    /// `value.name(…)`.
    pub(in crate::rules) is_method: bool,
    pub(in crate::rules) is_operator: bool,
    pub(in crate::rules) arguments: Vec<Argument>,
}

/// An argument as far as it is known without running.
pub(in crate::rules) struct Argument {
    pub(in crate::rules) position: Position,
    pub(in crate::rules) literal: Option<Dynamic>,
    /// `claims.x`, or the first alternative of `claims.x ?? …`.
    pub(in crate::rules) claim: Option<String>,
    /// `request.x`.
    pub(in crate::rules) field: Option<String>,
    /// The keys of `#{ … }`.
    pub(in crate::rules) keys: Vec<(String, Position)>,
}

/// `claims.plan`, `request.path`, `claims["plan"]`.
pub(in crate::rules) struct Read {
    pub(in crate::rules) object: Object,
    pub(in crate::rules) name: String,
    pub(in crate::rules) position: Position,
    pub(in crate::rules) used: Use,
}

/// What happens to the value, as far as `()` would matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Use {
    /// Nothing that `()` would disturb.
    Plain,
    /// Must be a boolean.
    Condition,
    /// Operand of an operator that has no meaning for `()`.
    Operand(&'static str),
    /// `!=`, which is true for `()`.
    Negated,
    /// A property or method of it, without `?.`.
    Member(String),
}

/// All functions of a file, closures included, in the order of the text.
pub(in crate::rules) fn functions(ast: &AST) -> Vec<Function> {
    let mut functions: Vec<_> = ast
        .iter_fn_def()
        .map(|definition| {
            let mut function = Function {
                name: definition.name.to_string(),
                parameters: definition.params.iter().map(ToString::to_string).collect(),
                body: definition.body.start_position(),
                ..Function::default()
            };
            let mut after_end = false;
            alone(definition).walk(&mut |path| {
                if let [ASTNode::Stmt(statement)] = path {
                    if after_end {
                        function.unreachable.push(statement.position());
                    }
                    after_end = ends(statement);
                }
                function.visit(path);
                true
            });
            function
        })
        .collect();
    functions.sort_by_key(|function| (function.body.line(), function.body.position()));
    functions
}

/// A tree with this function only. Rhai shows the bodies of functions in no other way, and its own filter lets everything through
/// when it begins with an empty module.
pub(in crate::rules) fn alone(definition: &Arc<ScriptFuncDef>) -> AST {
    let mut module = Module::new();
    module.set_script_fn(Arc::clone(definition));
    AST::new([], module)
}

impl Function {
    fn visit(&mut self, path: &[ASTNode<'_>]) {
        let Some((node, parents)) = path.split_last() else { return };
        match node {
            ASTNode::Stmt(statement) => self.statement(statement),
            ASTNode::Expr(expression) => self.expression(expression, parents),
            _ => {}
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::FnCall(call, position) => self.call(call, *position, false),
            Stmt::Var(parts, _, _) => self.declared.push((parts.0.name.to_string(), parts.0.pos)),
            Stmt::For(parts, _) => {
                let names = std::iter::once(&parts.0).chain(&parts.1);
                self.declared.extend(names.map(|name| (name.name.to_string(), name.pos)));
                self.dead_code(parts.2.body.statements());
            }
            Stmt::Assignment(parts) => {
                if let Some((object, position)) = root(&parts.1.lhs) {
                    self.assigned.push((object, position));
                }
            }
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, _, _) | Stmt::TryCatch(flow, _) => {
                if let (Stmt::TryCatch(..), Expr::Variable(name, _, position)) = (statement, &flow.expr) {
                    self.declared.push((name.1.to_string(), *position));
                }
                self.dead_code(flow.body.statements());
                self.dead_code(flow.branch.statements());
            }
            Stmt::Block(block) => self.dead_code(block.statements()),
            Stmt::Share(variables) => self.captured.extend(variables.iter().map(|(name, _)| name.name.to_string())),
            _ => {}
        }
    }

    fn dead_code(&mut self, statements: &[Stmt]) {
        let pairs = statements.iter().zip(statements.iter().skip(1));
        self.unreachable.extend(pairs.filter(|(before, _)| ends(before)).map(|(_, after)| after.position()));
    }

    fn expression(&mut self, expression: &Expr, parents: &[ASTNode<'_>]) {
        match expression {
            Expr::FnCall(call, position) => self.call(call, *position, false),
            Expr::MethodCall(call, position) => self.call(call, *position, true),
            Expr::DynamicConstant(value, _) => {
                if let Some(pointer) = value.read_lock::<FnPtr>() {
                    self.closures.push(pointer.fn_name().to_owned());
                }
            }
            Expr::Variable(name, _, position) if !name.2.is_empty() => {
                self.constants.push((name.2.root().to_owned(), name.1.to_string(), *position));
            }
            Expr::Property(property, _) => self.properties.push(property.2.to_string()),
            Expr::Stmt(block) => self.dead_code(block.statements()),
            Expr::Dot(chain, ..) | Expr::Index(chain, ..) => {
                self.reads.extend(read(chain, expression, parents));
                if let (Expr::Variable(name, _, position), true) = (&chain.lhs, takes_callback(&chain.rhs)) {
                    self.called_back.push((name.1.to_string(), *position));
                }
                let from_request = matches!(root(expression), Some((Object::Request, _)));
                self.reads_headers |= !from_request && begins_with(&chain.rhs, "headers");
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &FnCallExpr, position: Position, is_method: bool) {
        self.calls.push(Call {
            namespace: (!call.namespace.is_empty()).then(|| call.namespace.root().to_owned()),
            name: call.name.to_string(),
            position,
            is_method,
            is_operator: call.op_token.is_some(),
            arguments: call.args.iter().map(argument).collect(),
        });
    }
}

fn argument(expression: &Expr) -> Argument {
    let first = match expression {
        Expr::Coalesce(parts, _) => parts.first().unwrap_or(expression),
        _ => expression,
    };
    let keys = match expression {
        Expr::Map(parts, _) => parts.0.iter().map(|(key, _)| (key.name.to_string(), key.pos)).collect(),
        _ => Vec::new(),
    };
    Argument {
        position: expression.start_position(),
        literal: expression.get_literal_value(None),
        claim: property_of(Object::Claims, first),
        field: property_of(Object::Request, expression),
        keys,
    }
}

/// The `x` of `object.x` with nothing after it.
fn property_of(object: Object, expression: &Expr) -> Option<String> {
    let (Expr::Dot(chain, ..) | Expr::Index(chain, ..)) = expression else { return None };
    match (&chain.lhs, &chain.rhs) {
        (Expr::Variable(name, ..), Expr::Property(property, _)) if name.1 == object.name() => Some(property.2.to_string()),
        (Expr::Variable(name, ..), Expr::StringConstant(text, _)) if name.1 == object.name() => Some(text.to_string()),
        _ => None,
    }
}

fn read(chain: &BinaryExpr, whole: &Expr, parents: &[ASTNode<'_>]) -> Option<Read> {
    let Expr::Variable(name, ..) = &chain.lhs else { return None };
    let object = Object::named(&name.1)?;
    let named = |expression: &Expr| match expression {
        Expr::Property(property, position) => Some((property.2.to_string(), *position)),
        Expr::StringConstant(text, position) if object == Object::Claims => Some((text.to_string(), *position)),
        _ => None,
    };
    let (name, position, used) = match &chain.rhs {
        Expr::Dot(next, flags, _) | Expr::Index(next, flags, _) => {
            let (name, position) = named(&next.lhs)?;
            let used = if flags.contains(rhai::ASTFlags::NEGATED) { Use::Plain } else { Use::Member(member(&next.rhs)) };
            (name, position, used)
        }
        last => {
            let (name, position) = named(last)?;
            (name, position, use_in(whole, parents))
        }
    };
    Some(Read { object, name, position, used })
}

fn member(expression: &Expr) -> String {
    match expression {
        Expr::Property(property, _) => property.2.to_string(),
        Expr::MethodCall(call, _) => format!("{}(…)", call.name),
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => member(&chain.lhs),
        _ => "[…]".to_owned(),
    }
}

/// What the parent does with a bare `claims.x`.
fn use_in(whole: &Expr, parents: &[ASTNode<'_>]) -> Use {
    let is_whole = |expression: &Expr| std::ptr::eq(expression, whole);
    match parents.last() {
        Some(ASTNode::Stmt(Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, _, _))) if is_whole(&flow.expr) => {
            Use::Condition
        }
        Some(ASTNode::Expr(Expr::And(..) | Expr::Or(..))) => Use::Condition,
        Some(ASTNode::Expr(Expr::FnCall(call, _))) if call.op_token.is_some() => match call.name.as_str() {
            "!" => Use::Condition,
            "!=" if !call.args.iter().any(|argument| matches!(argument, Expr::Unit(_))) => Use::Negated,
            name => OPERATORS.into_iter().find(|operator| *operator == name).map_or(Use::Plain, Use::Operand),
        },
        _ => Use::Plain,
    }
}

/// Operators that fail, or are false both ways, when one side is `()`.
const OPERATORS: [&str; 10] = ["+", "-", "*", "/", "%", "**", "<", "<=", ">", ">="];

fn root(expression: &Expr) -> Option<(Object, Position)> {
    match expression {
        Expr::Variable(name, _, position) if name.2.is_empty() => Object::named(&name.1).map(|object| (object, *position)),
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => root(&chain.lhs),
        _ => None,
    }
}

fn begins_with(expression: &Expr, wanted: &str) -> bool {
    match expression {
        Expr::Property(property, _) => property.2 == wanted,
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => begins_with(&chain.lhs, wanted),
        _ => false,
    }
}

/// Whether a method of the chain gets an argument that may be a closure.
fn takes_callback(step: &Expr) -> bool {
    match step {
        Expr::MethodCall(call, _) => call.args.iter().any(|argument| !is_data(argument)),
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => takes_callback(&chain.lhs) || takes_callback(&chain.rhs),
        _ => false,
    }
}

fn is_data(expression: &Expr) -> bool {
    match expression {
        Expr::DynamicConstant(value, _) => !value.is_fnptr(),
        Expr::FnCall(call, _) => call.op_token.is_some(),
        Expr::Dot(..) | Expr::Index(..) => root(expression).is_some(),
        Expr::InterpolatedString(..) | Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..) => true,
        other => other.is_constant(),
    }
}

/// Whether nothing after this statement runs.
fn ends(statement: &Stmt) -> bool {
    match statement {
        Stmt::FnCall(call, _) => ends_rules(call),
        Stmt::Expr(expression) => matches!(&**expression, Expr::FnCall(call, _) if ends_rules(call)),
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        _ => false,
    }
}

fn ends_rules(call: &FnCallExpr) -> bool {
    call.namespace.is_empty() && Verb::named(&call.name).is_some_and(|verb| verb.ends)
}
