use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rhai::grain::Vm;
use rhai::{Dynamic, Engine, EvalAltResult, Scope};
use self_cell::self_cell;

use super::program::Body;

/// What runs the bodies of hooks. The tests run on both and compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Machine {
    /// Rhai's bytecode machine: some 40 % less time than the tree.
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

/// Runs the bodies of the hooks of one book on one thread.
pub(super) struct Runner {
    machine: Machine,
    cell: Cell,
    scope: Scope<'static>,
}

self_cell!(
    /// The bytecode machine together with the engine that it borrows.
    struct Cell {
        owner: Arc<Engine>,
        #[not_covariant]
        dependent: Vm,
    }
);

thread_local! {
    /// The runner of the book that this thread used last. A machine remembers the functions it has found, which is a quarter of the
    /// cost of a hook; one made for each request would find them again each time, and one for all threads would be a lock.
    static LAST: RefCell<Option<Box<Runner>>> = const { RefCell::new(None) };
}

impl Runner {
    /// Lends the thread's runner for this engine. After a reload a thread keeps the old engine until its next request.
    pub(super) fn with<R>(engine: &Arc<Engine>, machine: Machine, work: impl FnOnce(&mut Self) -> R) -> R {
        let last = LAST.take().filter(|runner| Arc::ptr_eq(runner.cell.borrow_owner(), engine) && runner.machine == machine);
        let mut runner = last.unwrap_or_else(|| Box::new(Self::new(engine, machine)));
        let result = work(&mut runner);
        LAST.set(Some(runner));
        result
    }

    fn new(engine: &Arc<Engine>, machine: Machine) -> Self {
        // Not `Vm::new`: it allocates a trace for stripped programs, and ours have their positions.
        let cell = Cell::new(Arc::clone(engine), |engine| Vm::with_global_state(engine, engine.new_global_runtime_state()));
        Self { machine, cell, scope: Scope::new() }
    }

    pub(super) fn run(&mut self, body: &Body) -> Ending {
        match catch_unwind(AssertUnwindSafe(|| self.evaluate(body))) {
            Ok(Ok(())) => Ending::Done,
            // The tree turns a verb's exit into a value, the bytecode machine does so only at the outermost level.
            Ok(Err(error)) if matches!(*error, EvalAltResult::Exit(..)) => Ending::Done,
            Ok(Err(error)) => Ending::Failed(error),
            Err(_) => Ending::Panicked,
        }
    }

    /// Replaces machine and scope. Needed whenever a body did not run to its end: a panic may have left anything half-done, and an
    /// error, a verb's exit included, leaves the operands that were waiting on the machine's stack for ever.
    pub(super) fn renew(&mut self) {
        *self = Self::new(&Arc::clone(self.cell.borrow_owner()), self.machine);
    }

    fn evaluate(&mut self, body: &Body) -> Result<(), Box<EvalAltResult>> {
        let scope = &mut self.scope;
        scope.clear();
        for object in &body.parameters {
            scope.push_dynamic(object.name(), object.value());
        }
        match self.machine {
            Machine::Tree => self.cell.borrow_owner().eval_ast_with_scope::<Dynamic>(scope, &body.tree).map(|_| ()),
            Machine::Bytecode => self.cell.with_dependent_mut(|_, vm| {
                if body.bytecode.makes_fn_pointers() {
                    // Only a shared program can be called back by native functions (`array.some(|x| …)`).
                    vm.eval_with_callbacks(scope, &body.bytecode).map(|_| ())
                } else {
                    vm.run_with_scope(scope, &body.bytecode)
                }
            }),
        }
    }
}
