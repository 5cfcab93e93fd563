//! Regular expressions: `text.matches(pattern)`, with a bound on what a pattern and a search cost.
//!
//! A search looks at each byte of the text once, with all states of the pattern at a time. So bytes times states bound its
//! time, and both are known before. A search that keeps a table of what it has seen is faster for most patterns, but its
//! slowest case is not known before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::common::types::{CelBool, CelString};
use cel::common::value::CowVal;
use cel::{Context, ExecutionError, FunctionContext, IdedExpr};
use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;

use super::budget::{Budget, Function, MATCHES};
use super::error::{ExpressionError, code};

/// Bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 1000;
/// Bytes of a pattern's states. `\d` alone has many: it is any digit of any script.
const MAX_STATES_BYTES: usize = 2 << 20;
/// Groups inside one another.
const MAX_GROUPS: u32 = 50;
/// Steps that it takes to read a byte of a pattern. `\pL` without regard to case is the dearest.
const STEPS_A_PATTERN_BYTE: u64 = 100;
/// Bytes of states that are made in the time of one step.
const STATES_BYTES_A_STEP: u64 = 48;
/// States that are held against a byte of the text in the time of one step.
const STATES_A_STEP: u64 = 24;

/// A pattern, ready to be searched for.
struct Pattern {
    search: PikeVM,
    cache: Cache,
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let bytes = pattern.len();
            return Err(format!("the pattern has {bytes} bytes; at most {MAX_PATTERN_BYTES} are allowed"));
        }
        let states = thompson::Config::new().nfa_size_limit(Some(MAX_STATES_BYTES)).which_captures(WhichCaptures::None);
        let search = PikeVM::builder()
            .syntax(syntax::Config::new().nest_limit(MAX_GROUPS))
            .thompson(states)
            .build(pattern)
            .map_err(|error| in_words(&error))?;
        let cache = search.create_cache();
        Ok(Self { search, cache })
    }

    fn cost_of_states(&self) -> u64 {
        self.search.get_nfa().memory_usage() as u64 / STATES_BYTES_A_STEP
    }

    fn cost_of_search(&self, text: &str) -> u64 {
        text.len() as u64 * self.search.get_nfa().states().len() as u64 / STATES_A_STEP
    }
}

fn in_words(error: &thompson::BuildError) -> String {
    if error.size_limit().is_some() {
        return "the pattern has too many states: it repeats large sets of characters too often".to_owned();
    }
    let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    // The library draws the pattern with its fault below; the last line says what is wrong.
    let last = reason.lines().last().unwrap_or_default();
    format!("the pattern can not be read: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// Refuses a pattern that is written in the call and is none.
pub(super) fn check(call: &CallExpr, source: &str) -> Result<(), ExpressionError> {
    let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(pattern)), .. }) = call.args.last() else {
        return Ok(());
    };
    if call.func_name != "matches" {
        return Ok(());
    }
    Pattern::new(pattern.inner()).map(drop).map_err(|fault| ExpressionError {
        code: code::SYNTAX,
        message: fault,
        offset: source.find(pattern.inner()).filter(|at| source.rfind(pattern.inner()) == Some(*at)),
    })
}

/// Adds the function to a context. It compiles each pattern once.
pub(super) fn install(budget: &Budget, context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
    let budget = budget.share();
    let known: Arc<Mutex<BTreeMap<String, Pattern>>> = Arc::default();
    let matches: Function = Box::new(move |call| {
        let (text, pattern) = arguments(call)?;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let pattern = match known.entry(pattern) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                budget.charge(new.key().len() as u64 * STEPS_A_PATTERN_BYTE)?;
                let pattern = Pattern::new(new.key());
                let pattern = pattern.map_err(|fault| ExecutionError::function_error("matches", fault))?;
                budget.charge(pattern.cost_of_states())?;
                new.insert(pattern)
            }
        };
        budget.charge(pattern.cost_of_search(&text))?;
        let found = pattern.search.is_match(&mut pattern.cache, &text);
        Ok(CowVal::owned(if found { CelBool::TRUE } else { CelBool::FALSE }))
    });
    context.add_function(MATCHES, matches)
}

fn arguments(call: &mut FunctionContext<'_, '_>) -> Result<(String, String), ExecutionError> {
    let [text, pattern] = call.args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, call.args.len()));
    };
    let as_text = |value: &CowVal<'_, '_>| value.downcast_ref::<CelString>().map(|text| text.inner().to_owned());
    as_text(text).zip(as_text(pattern)).ok_or_else(|| ExecutionError::function_error("matches", "it takes two texts"))
}
