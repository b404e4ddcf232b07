use std::ops::{Range, RangeInclusive};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Engine, EvalAltResult, INT, ImmutableString, OptimizationLevel, Position, def_package};

use super::budget;
use crate::model::settings::RuleLimits;

/// Elements of one array or map.
const ELEMENTS: usize = 1_000;
/// Calls within calls.
pub(super) const CALL_LEVELS: usize = 16;
/// Local variables of one hook.
const VARIABLES: usize = 256;
/// Functions of one file.
const FUNCTIONS: usize = 64;
/// Nesting of expressions, at top level and inside functions: deep enough for people, shallow enough for a 2 MiB stack.
const DEPTH: usize = 64;

def_package! {
    /// What rules may use of Rhai's own library. Left out: the language core (`sleep` blocks the thread and cannot be switched off
    /// otherwise, `exit` ends a rule silently), time, blobs, bit fields. One module, because every call searches all of them.
    RulePackage(_lib):
        ArithmeticPackage, LogicPackage, BasicStringPackage, BasicIteratorPackage, BasicFnPackage,
        BasicMathPackage, BasicArrayPackage, BasicMapPackage, MoreStringPackage
    {}
}

/// An engine that can compute and nothing else: no files, no clock, no imports, no `eval`, everything bounded.
pub(super) fn engine(limits: &RuleLimits) -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(RulePackage::new().as_shared_module());
    engine
        // The optimiser removes and merges statements, and with them the places that people see in reports.
        .set_optimization_level(OptimizationLevel::None)
        // The interner is one lock for all threads.
        .set_max_strings_interned(0)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_variables(VARIABLES)
        .set_max_functions(FUNCTIONS)
        .set_max_modules(0)
        .set_max_expr_depths(DEPTH, DEPTH / 2)
        .set_max_string_size(limits.string_bytes.max(64))
        .set_max_array_size(ELEMENTS)
        .set_max_map_size(ELEMENTS)
        .on_progress(|_| budget::spend());
    for symbol in ["eval", "import", "export", "debug", "Fn", "is_def_fn", "is_def_var", "is_shared"] {
        engine.disable_symbol(symbol);
    }
    bounded_replace(&mut engine, limits.string_bytes.max(64));
    #[cfg(test)]
    engine.register_fn("panic_now", || -> () { panic!("a native function panics") });
    // Rhai's own takes the range by reference, which it refuses for constants: `hour in OFFICE_HOURS`.
    engine.register_fn("contains", |range: Range<INT>, number: INT| range.contains(&number));
    engine.register_fn("contains", |range: RangeInclusive<INT>, number: INT| range.contains(&number));
    engine
}

/// Rhai's own `replace` measures the result after it was built: 16 KiB of `a`, each replaced by 16 KiB, are 256 MiB.
fn bounded_replace(engine: &mut Engine, most: usize) {
    let replace = move |text: &mut ImmutableString, find: &str, by: &str| -> Result<(), Box<EvalAltResult>> {
        let growth = by.len().saturating_sub(find.len());
        let found = if growth == 0 { 0 } else { text.matches(find).count() };
        if found.saturating_mul(growth).saturating_add(text.len()) > most {
            return Err(EvalAltResult::ErrorDataTooLarge("Length of string".into(), Position::NONE).into());
        }
        *text = text.replace(find, by).into();
        Ok(())
    };
    engine.register_fn("replace", move |text: &mut ImmutableString, find: ImmutableString, by: ImmutableString| {
        replace(text, &find, &by)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, find: char, by: char| {
        replace(text, find.encode_utf8(&mut [0; 4]), by.encode_utf8(&mut [0; 4]))
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, find: char, by: ImmutableString| {
        replace(text, find.encode_utf8(&mut [0; 4]), &by)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, find: ImmutableString, by: char| {
        replace(text, &find, by.encode_utf8(&mut [0; 4]))
    });
}
