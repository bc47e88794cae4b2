//! Expressions that pulls bring along themselves, compiled: consumers that poll send theirs with each pull.
//!
//! One table per worker, which forgets everything when it is full: who uses many different ones has them compiled again.

use crate::control::{Compiled, SQL92, compile, compiled_bytes};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

/// Expressions that are kept.
const COUNT_MAX: usize = 100;
/// What they may take up.
const BYTES_MAX: usize = 1024 * 1024;
/// Of one, its text and filter aside.
const EXPRESSION_BYTES: usize = 128;

/// The expressions of a worker.
#[derive(Debug, Default)]
pub struct Expressions {
    by_text: RefCell<HashMap<Box<str>, Compiled>>,
    bytes: Cell<usize>,
}

impl Expressions {
    /// The filter of an expression that is not about tags. An error says why it is none.
    pub fn filter(&self, expression_type: &str, text: &str) -> Compiled {
        if expression_type != SQL92 {
            return compile(expression_type, text);
        }
        let mut by_text = self.by_text.borrow_mut();
        if let Some(known) = by_text.get(text) {
            return known.clone();
        }
        let compiled = compile(expression_type, text);
        let bytes = EXPRESSION_BYTES + text.len() + compiled_bytes(&compiled);
        if by_text.len() >= COUNT_MAX || self.bytes.get() + bytes > BYTES_MAX {
            by_text.clear();
            self.bytes.set(0);
        }
        if bytes <= BYTES_MAX {
            self.bytes.set(self.bytes.get() + bytes);
            by_text.insert(text.into(), compiled.clone());
        }
        compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_is_compiled_once_and_what_is_much_is_forgotten() {
        let expressions = Expressions::default();
        let first = expressions.filter("SQL92", "a = 1").expect("a filter");
        assert_eq!(expressions.filter("SQL92", "a = 1"), Ok(first.clone()), "the same one");
        expressions.filter("SQL92", "a =").expect_err("no filter");
        expressions.filter("other", "a = 1").expect_err("no type");
        assert_eq!(expressions.by_text.borrow().len(), 2);
        for number in 0..500 {
            expressions.filter("SQL92", &format!("a = {number}")).expect("a filter");
            assert!(expressions.by_text.borrow().len() <= COUNT_MAX);
        }
        let long: Vec<String> = (0..2_000).map(|number| format!("a = {number}")).collect();
        for number in 0..50 {
            let text = format!("{} OR b = {number}", long.join(" OR "));
            expressions.filter("SQL92", &text).expect("a filter");
            assert!(expressions.bytes.get() <= BYTES_MAX);
        }
        assert_ne!(expressions.filter("SQL92", "a = 1"), Ok(first));
    }
}
