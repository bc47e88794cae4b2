//! Filters of consumers in SQL92: compiled once per subscription, evaluated over the bytes of a message's properties.
//!
//! `lexer` makes tokens, `parser` a tree of them with all checks that need no message, `eval` walks it. The contract is what
//! Java's broker does, quirks included, so that a filter means the same here: text behind a whole expression is
//! ignored, numbers have no leading zeros, IN takes texts only, a text is converted to the type of the number that it is
//! compared with, and what cannot be converted does not match. Pure functions: no I/O, no clock, no allocation per message
//! with up to sixteen properties in an expression. Always holds: no text and no property makes it panic, and neither depth
//! nor time exceed what the limits here allow. Source: Apache RocketMQ 5.3.3, `SelectorParser`, `ComparisonExpression`,
//! `UnaryExpression`, `LogicExpression`, `MessageEvaluationContext`.
//!
//! Differences from Java, on purpose: digits of other scripts, hexadecimal floating point, and texts of more than
//! 1,024 bytes are no numbers; size, depth and properties of an expression are limited.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod eval;
mod lexer;
mod number;
mod parser;
#[cfg(test)]
mod tests;

/// Bytes of an expression's text, at most.
pub const EXPRESSION_BYTES_MAX: usize = 32 * 1024;
/// Properties that an expression looks at, at most.
pub const NAMES_MAX: usize = 64;
/// Operators within each other, at most. Lists of AND and OR count once.
pub const DEPTH_MAX: usize = 64;

/// Parts of an expression that cost about as much as finding the properties of a message.
const NODES_OF_LITTLE_WORK: usize = 32;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is longer than one may be.
    #[error("expression of {bytes} bytes, the limit is {EXPRESSION_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It is nested too deeply.
    #[error("operators nest deeper than {DEPTH_MAX} at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// It looks at too many properties.
    #[error("more than {NAMES_MAX} properties at byte {at}")]
    TooManyNames {
        /// Where.
        at: usize,
    },
    /// Something else should stand there.
    #[error("{found} at byte {at}, expected {expected}")]
    Unexpected {
        /// What stands there.
        found: String,
        /// Where.
        at: usize,
        /// What could.
        expected: &'static str,
    },
    /// Operands that can never be compared, or a number out of range.
    #[error("{reason}, before byte {at}")]
    Meaningless {
        /// What is wrong.
        reason: String,
        /// Where that is known.
        at: usize,
    },
}

/// A compiled filter.
#[derive(Debug, PartialEq)]
pub struct Filter {
    /// Properties that it looks at, each once.
    names: Box<[Box<str>]>,
    root: Node,
    nodes: usize,
    bytes: usize,
}

impl Filter {
    /// Compiles an expression.
    pub fn compile(text: &str) -> Result<Filter, FilterError> {
        parser::parse(text)
    }

    /// Whether a message with these properties, as its record holds them, matches.
    pub fn matches(&self, properties: &[u8]) -> bool {
        eval::matches(self, properties)
    }

    /// How much more work it is than the smallest filters, roughly.
    pub fn weight(&self) -> usize {
        1 + (self.names.len() + self.nodes) / NODES_OF_LITTLE_WORK
    }

    /// Memory that it takes up, on the large side.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// A value while a filter is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a [u8]),
}

/// A part of an expression.
#[derive(Debug, PartialEq)]
enum Node {
    /// By its number among the names.
    Property(usize),
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    /// A property where a truth value is wanted: it is none.
    Cast(usize),
    Negate(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Equal(Box<[Node; 2]>),
    Compare(Order, Box<[Node; 2]>),
    /// Value, low, high.
    Between {
        negated: bool,
        of: Box<[Node; 3]>,
    },
    /// A property and what it may be, sorted.
    In {
        negated: bool,
        property: usize,
        texts: Box<[Box<str>]>,
    },
    Search {
        negated: bool,
        place: Place,
        value: Box<Node>,
        wanted: Box<str>,
    },
}

/// A number in an expression. Java's types matter: a text is converted to the one that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Int(i32),
    Long(i64),
    Double(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text is looked for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Start,
    End,
}
