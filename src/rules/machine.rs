use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rhai::grain::Vm;
use rhai::{Dynamic, Engine, EvalAltResult, Scope};

use super::program::Body;

/// What runs the bodies of hooks. The tests run on both and compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Machine {
    /// Rhai's bytecode machine: half the time of the tree.
    #[default]
    Bytecode,
    /// Rhai's tree interpreter, the fallback if a release of the bytecode machine should disappoint.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests run every rule on both"))]
    Tree,
}

/// How a body ended.
pub(super) enum Ending {
    /// At its end, by `return`, or by a verb that ends the rules.
    Done,
    /// Rhai says why.
    Failed(Box<EvalAltResult>),
    /// A native function panicked: a bug of ours or Rhai's, never the author's.
    Panicked,
}

/// Runs the bodies of one hook of one request, one after the other.
///
/// Made anew for each hook. A machine that lives as long as its thread would resolve functions some 0.1 µs faster per verb, but
/// would have to borrow an engine that is never freed, and each reload makes a new engine.
pub(super) struct Runner<'e> {
    engine: &'e Engine,
    machine: Machine,
    vm: Vm<'e>,
    scope: Scope<'static>,
}

impl<'e> Runner<'e> {
    pub(super) fn new(engine: &'e Engine, machine: Machine) -> Self {
        // Not `Vm::new`: it allocates a trace for stripped programs, and ours have their positions.
        let vm = Vm::with_global_state(engine, engine.new_global_runtime_state());
        Self { engine, machine, vm, scope: Scope::new() }
    }

    pub(super) fn run(&mut self, body: &Body) -> Ending {
        // Nothing that a panic could leave half-done is used again: machine and scope are replaced.
        match catch_unwind(AssertUnwindSafe(|| self.evaluate(body))) {
            Ok(Ok(())) => Ending::Done,
            // The tree turns a verb's exit into a value, the bytecode machine does so only at the outermost level.
            Ok(Err(error)) if matches!(*error, EvalAltResult::Exit(..)) => Ending::Done,
            Ok(Err(error)) => Ending::Failed(error),
            Err(_) => {
                *self = Self::new(self.engine, self.machine);
                Ending::Panicked
            }
        }
    }

    fn evaluate(&mut self, body: &Body) -> Result<(), Box<EvalAltResult>> {
        self.scope.clear();
        for object in &body.parameters {
            self.scope.push_dynamic(object.name(), object.value());
        }
        match self.machine {
            Machine::Tree => self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &body.tree).map(|_| ()),
            // Only a shared program can be called back by native functions (`array.some(|x| …)`).
            Machine::Bytecode if body.bytecode.makes_fn_pointers() => {
                self.vm.eval_with_callbacks(&mut self.scope, &Arc::clone(&body.bytecode)).map(|_| ())
            }
            Machine::Bytecode => self.vm.run_with_scope(&mut self.scope, &body.bytecode),
        }
    }
}
