//! Bounds the work of an evaluation, and makes it the same everywhere.
//!
//! CEL ends always, but `map` inside `map` over a long list ends late, and a mapping has no order. So, before it is
//! kept, an expression is rewritten: what a comprehension walks over goes through `@items`, which sorts the keys of
//! a mapping, and what a call is given goes through `@charge`, which counts its size against a budget. Neither name
//! can be written in CEL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::common::types::{CelBytes, CelList, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext};
use serde_json::Value;

use super::error::{ExpressionError, code};
use crate::limits::MAX_EXPRESSION_WORK;

const ITEMS: &str = "@items";
const CHARGE: &str = "@charge";
/// Stands for `matches` ([`super::patterns`]).
pub(super) const MATCHES: &str = "@matches";
/// Bytes that are copied or compared in the time of one step of an evaluation, and many more.
const BYTES_A_STEP: u64 = 16;
/// Values that are copied in the time of one step.
const COPIES_A_STEP: u64 = 8;

/// The expression, with the calls that bound its work.
pub(super) fn instrument(mut expr: IdedExpr) -> IdedExpr {
    rewrite(&mut expr);
    expr
}

/// How many nodes stand above one another.
pub(super) fn depth(expr: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(depth).max().unwrap_or(0);
    let of_entry = |entry: &EntryExpr| match entry {
        EntryExpr::StructField(field) => depth(&field.value),
        EntryExpr::MapEntry(entry) => depth(&entry.key).max(depth(&entry.value)),
    };
    1 + match &expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Select(select) => depth(&select.operand),
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Map(map) => map.entries.iter().map(|entry| of_entry(&entry.expr)).max().unwrap_or(0),
        Expr::Struct(message) => message.entries.iter().map(|entry| of_entry(&entry.expr)).max().unwrap_or(0),
        Expr::Call(call) => deepest(&mut call.target.iter().map(|target| &**target).chain(&call.args)),
        Expr::Comprehension(comprehension) => deepest(
            &mut [
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ]
            .into_iter(),
        ),
    }
}

fn rewrite(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| rewrite_entry(&mut entry.expr)),
        Expr::Struct(message) => message.entries.iter_mut().for_each(|entry| rewrite_entry(&mut entry.expr)),
        Expr::Call(call) => rewrite_call(call),
        Expr::Comprehension(comprehension) => {
            rewrite(&mut comprehension.iter_range);
            wrap(&mut comprehension.iter_range, ITEMS);
            for part in [
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                rewrite(part);
            }
        }
    }
}

fn rewrite_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => rewrite(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            rewrite(&mut entry.key);
            rewrite(&mut entry.value);
        }
    }
}

fn rewrite_call(call: &mut CallExpr) {
    if let Some(target) = &mut call.target {
        rewrite(target);
    }
    call.args.iter_mut().for_each(rewrite);
    // The step of `map` and `filter`, `@result + [item]`: the item counts, not what was gathered before.
    if call.func_name == operators::ADD
        && let [IdedExpr { expr: Expr::Ident(name), .. }, IdedExpr { expr: Expr::List(list), .. }] =
            call.args.as_mut_slice()
        && name == "@result"
    {
        list.elements.iter_mut().for_each(|item| wrap(item, CHARGE));
        return;
    }
    let free = [
        operators::CONDITIONAL,
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::NOT_STRICTLY_FALSE,
        operators::INDEX,
        operators::NEGATE,
    ];
    if free.contains(&call.func_name.as_str()) {
        return;
    }
    if call.func_name == "matches" {
        // Both `text.matches(pattern)` and `matches(text, pattern)`.
        call.args.splice(0..0, call.target.take().map(|target| *target));
        MATCHES.clone_into(&mut call.func_name);
    }
    call.target.iter_mut().for_each(|target| wrap(target, CHARGE));
    call.args.iter_mut().for_each(|arg| wrap(arg, CHARGE));
}

fn wrap(expr: &mut IdedExpr, function: &str) {
    let inner = std::mem::take(expr);
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] };
    *expr = IdedExpr { id: 0, expr: Expr::Call(call) };
}

/// The steps of work that the evaluations in one place may still do, all together: at first
/// [`MAX_EXPRESSION_WORK`].
#[derive(Debug)]
pub struct Budget(Arc<AtomicU64>);

/// A function of expressions.
pub(super) type Function =
    Box<dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> + Send + Sync>;

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(MAX_EXPRESSION_WORK)))
    }
}

impl Budget {
    /// The work that has been done.
    pub fn spent(&self) -> u64 {
        MAX_EXPRESSION_WORK - self.left()
    }

    /// Counts a value that is copied as it is.
    pub(crate) fn copy(&self, value: &Value) {
        self.take(weight(value) / COPIES_A_STEP);
    }

    /// An error if values of so many bytes of JSON cost more than there is, however they look.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), ExpressionError> {
        if bytes / (BYTES_A_STEP * COPIES_A_STEP) >= self.left() {
            self.take(u64::MAX);
        }
        self.check()
    }

    /// An error if more was wanted than there was.
    pub(super) fn check(&self) -> Result<(), ExpressionError> {
        if self.left() > 0 {
            return Ok(());
        }
        let most = MAX_EXPRESSION_WORK;
        let message = format!("the expression and those beside it visit or make more than {most} values");
        Err(ExpressionError::new(code::TOO_MUCH, message))
    }

    /// Adds the functions that count to a context.
    pub(super) fn install(&self, context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
        let own = self.share();
        let charge: Function = Box::new(move |call| {
            let value = argument(call)?;
            own.spend(&value)?;
            Ok(value)
        });
        context.add_function(CHARGE, charge)?;
        let own = self.share();
        let items: Function = Box::new(move |call| {
            let value = argument(call)?;
            own.spend(&value)?;
            Ok(sorted_keys(&value).unwrap_or(value))
        });
        context.add_function(ITEMS, items)
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self, cost: u64) {
        self.0.store(self.left().saturating_sub(cost), Ordering::Relaxed);
    }

    /// The same budget, for a function that outlives the borrow.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn spend(&self, value: &CowVal<'_, '_>) -> Result<(), ExecutionError> {
        self.charge(size(value.as_ref(), self.left()))
    }

    /// Takes so many steps; an error if nothing is left.
    pub(super) fn charge(&self, cost: u64) -> Result<(), ExecutionError> {
        self.take(cost);
        if self.left() == 0 { Err(ExecutionError::InternalError("too much work".to_owned())) } else { Ok(()) }
    }
}

/// The values in a JSON value, and one more for each 16 bytes of its texts.
fn weight(value: &Value) -> u64 {
    let of_text = |text: &str| text.len() as u64 / BYTES_A_STEP;
    1 + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => of_text(text),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| 1 + of_text(key) + weight(item)).sum(),
    }
}

fn argument<'c, 'v>(call: &mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> {
    if call.args.is_empty() {
        return Err(ExecutionError::invalid_argument_count(1, 0));
    }
    Ok(call.args.swap_remove(0))
}

/// The keys of a mapping, in the one order that every host agrees on.
fn sorted_keys<'c, 'v>(value: &CowVal<'c, 'v>) -> Option<CowVal<'c, 'v>> {
    let map = value.downcast_ref::<CelMap>()?;
    let mut keys: Vec<Box<dyn Val + 'v>> = map.inner().keys().map(|key| key.inner().clone_as_boxed()).collect();
    keys.sort_by_cached_key(|key| super::convert::to_json(key.as_ref()).map(|key| key.to_string()).unwrap_or_default());
    Some(CowVal::owned(CelList::from(keys)))
}

/// The steps that it costs to visit or make a value: one for each value in it, and more for long texts. The count ends
/// at `most`.
fn size(value: &dyn Val, most: u64) -> u64 {
    let mut left = most;
    count(value, &mut left);
    most - left
}

fn count(value: &dyn Val, left: &mut u64) {
    *left = left.saturating_sub(1);
    if let Some(text) = value.downcast_ref::<CelString>() {
        *left = left.saturating_sub(text.inner().len() as u64 / BYTES_A_STEP);
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        *left = left.saturating_sub(bytes.inner().len() as u64 / BYTES_A_STEP);
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        for item in list.inner() {
            if *left == 0 {
                return;
            }
            count(item.as_ref(), left);
        }
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        for (key, item) in map.inner() {
            if *left == 0 {
                return;
            }
            count(key.inner(), left);
            count(item.as_ref(), left);
        }
    }
}
