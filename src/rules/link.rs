use std::collections::BTreeMap;

use rhai::{BinaryExpr, Expr, FlowControl, FnCallExpr, FnCallHashes, ImmutableString, Namespace, Stmt};

use super::objects::{Field, Object};

/// Prepares the body of a hook for running:
///
/// - `claims.plan` and `request.path` become one variable each, which the engine's variable callback serves: a fifth of the cost
///   of calling a getter, and most of what rules do;
/// - `plans::limit_for(…)` becomes a call within the program: Rhai would build another machine for each call into a module.
///
/// The meaning stays: both work without this pass, only slower, and still do so inside helpers and closures.
pub(super) struct Linker<'l> {
    /// The hook's parameters.
    pub(super) parameters: &'l [Object],
    /// Library functions that were copied into the program: the hash by namespace, name and number of arguments.
    pub(super) functions: &'l BTreeMap<(ImmutableString, ImmutableString, usize), u64>,
    /// A parameter is used as a whole, so the body needs it as a variable.
    pub(super) needs_parameters: bool,
}

impl Linker<'_> {
    pub(super) fn statements(&mut self, statements: &mut [Stmt]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &mut Stmt) {
        match statement {
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, _, _) | Stmt::TryCatch(flow, _) => self.flow(flow),
            Stmt::For(parts, _) => self.flow(&mut parts.2),
            Stmt::Switch(parts, _) => {
                self.expression(&mut parts.0);
                for BinaryExpr { lhs, rhs } in &mut parts.1.expressions {
                    self.expression(lhs);
                    self.expression(rhs);
                }
            }
            Stmt::Var(parts, _, _) => self.expression(&mut parts.1),
            Stmt::Assignment(parts) => {
                self.expression(&mut parts.1.lhs);
                self.expression(&mut parts.1.rhs);
            }
            Stmt::FnCall(call, _) => self.call(call),
            Stmt::Block(block) => self.statements(block.statements_mut()),
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::BreakLoop(Some(value), _, _) | Stmt::Return(Some(value), _, _) => self.expression(value),
            Stmt::Share(variables) => {
                self.needs_parameters |= variables.iter().any(|(name, _)| self.parameter(name.as_str()).is_some());
            }
            _ => {}
        }
    }

    fn flow(&mut self, flow: &mut FlowControl) {
        self.expression(&mut flow.expr);
        self.statements(flow.body.statements_mut());
        self.statements(flow.branch.statements_mut());
    }

    fn call(&mut self, call: &mut FnCallExpr) {
        if !call.namespace.is_empty() {
            let key = (call.namespace.root().into(), call.name.clone(), call.args.len());
            if let Some(hash) = self.functions.get(&key) {
                call.namespace = Namespace::NONE;
                call.hashes = FnCallHashes::from_hash(*hash);
            }
        }
        for argument in &mut call.args {
            self.expression(argument);
        }
    }

    fn expression(&mut self, expression: &mut Expr) {
        if let Some(property) = self.property(expression) {
            *expression = property;
        }
        match expression {
            Expr::Variable(name, _, _) if name.2.is_empty() => self.needs_parameters |= self.parameter(&name.1).is_some(),
            // A library's constant; the rule has it under its bare name.
            Expr::Variable(name, _, _) if self.is_linked(name.2.root()) => name.2 = Namespace::NONE,
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => parts.iter_mut().for_each(|part| self.expression(part)),
            Expr::Map(parts, _) => parts.0.iter_mut().for_each(|(_, value)| self.expression(value)),
            Expr::Stmt(block) => self.statements(block.statements_mut()),
            Expr::FnCall(call, _) | Expr::MethodCall(call, _) => self.call(call),
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter_mut().for_each(|part| self.expression(part));
            }
            Expr::Dot(chain, _, _) => {
                self.expression(&mut chain.lhs);
                self.rest(&mut chain.rhs);
            }
            Expr::Index(chain, flags, _) => {
                self.expression(&mut chain.lhs);
                if flags.contains(rhai::ASTFlags::BREAK) { self.expression(&mut chain.rhs) } else { self.rest(&mut chain.rhs) }
            }
            _ => {}
        }
    }

    /// The steps of a chain after its root. In `a[b].c` the index `b` and the property `c` are sides of one `Dot`: it must not be
    /// taken for `b.c`.
    fn rest(&mut self, step: &mut Expr) {
        match step {
            Expr::Dot(chain, _, _) => {
                self.expression(&mut chain.lhs);
                self.rest(&mut chain.rhs);
            }
            Expr::Index(chain, flags, _) => {
                self.expression(&mut chain.lhs);
                if flags.contains(rhai::ASTFlags::BREAK) { self.expression(&mut chain.rhs) } else { self.rest(&mut chain.rhs) }
            }
            last => self.expression(last),
        }
    }

    /// `claims.plan`, `claims["plan"]` or the beginning of `claims.org?.tier` as one variable.
    fn property(&self, expression: &mut Expr) -> Option<Expr> {
        let (Expr::Dot(chain, _, position) | Expr::Index(chain, _, position)) = expression else { return None };
        let position = *position;
        let Expr::Variable(root, _, _) = &chain.lhs else { return None };
        let object = self.parameter(&root.1).filter(|_| root.2.is_empty())?;
        let variable = |name: &ImmutableString, at| {
            let name = match object {
                Object::Claims => format!("claims.{name}"),
                other => Field::variable(other, name)?,
            };
            Some(Expr::Variable((None, name.into(), Namespace::NONE, 0).into(), None, at))
        };
        match &mut chain.rhs {
            Expr::Property(property, _) => variable(&property.2, position),
            Expr::StringConstant(name, _) if object == Object::Claims => variable(name, position),
            Expr::Dot(next, _, _) | Expr::Index(next, _, _) => {
                next.lhs = match &next.lhs {
                    Expr::Property(property, _) => variable(&property.2, position)?,
                    Expr::StringConstant(name, _) if object == Object::Claims => variable(name, position)?,
                    _ => return None,
                };
                Some(std::mem::take(&mut chain.rhs))
            }
            _ => None,
        }
    }

    fn is_linked(&self, namespace: &str) -> bool {
        self.functions.keys().any(|(library, _, _)| library.as_str() == namespace)
    }

    fn parameter(&self, name: &str) -> Option<Object> {
        Object::named(name).filter(|object| self.parameters.contains(object))
    }
}
