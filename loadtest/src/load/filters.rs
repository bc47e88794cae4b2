//! What does it cost to evaluate an SQL92 filter over the properties of a message? Ten expressions, one message with ten
//! properties; each expression is evaluated for a while, and the median of several such times is told.

use filter::{Filter, FilterError};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// From the cheapest to the dearest that one would write.
const EXPRESSIONS: [&str; 10] = [
    "TRUE",
    "color IS NOT NULL",
    "color = 'red'",
    "price > 100",
    "price BETWEEN 100 AND 200",
    "color IN ('red', 'green', 'blue', 'white', 'black')",
    "price > 99.5 AND color = 'red' AND region = 'eu'",
    "(color = 'blue' OR color = 'red') AND NOT (stock < 10)",
    "nothing IS NULL AND weight >= 2.5 AND stock <> 0 AND region NOT IN ('us', 'cn')",
    "title CONTAINS 'shoe' AND title STARTSWITH 'running' OR weight < price",
];

const PROPERTIES: [(&str, &str); 10] = [
    ("KEYS", "order-4711"),
    ("UNIQ_KEY", "7F0000010001070DEA4E5C8B1F2A0000"),
    ("WAIT", "true"),
    ("TAGS", "created"),
    ("color", "red"),
    ("price", "150"),
    ("region", "eu"),
    ("stock", "25"),
    ("weight", "3.75"),
    ("title", "running shoes for everybody"),
];

/// Evaluations between two looks at the clock.
const AT_ONCE: u32 = 1_000;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(50);

/// An expression and what one evaluation takes, ns.
pub struct Priced {
    /// The expression.
    pub expression: &'static str,
    /// Whether the message matches.
    pub matches: bool,
    /// Median of the rounds.
    pub nanoseconds: f64,
}

/// Prices all expressions.
pub fn run() -> Result<Vec<Priced>, FilterError> {
    let pair = |(name, value): (&str, &str)| format!("{name}\u{1}{value}\u{2}");
    let properties = PROPERTIES.map(pair).concat().into_bytes();
    EXPRESSIONS.into_iter().map(|expression| price(expression, &properties)).collect()
}

fn price(expression: &'static str, properties: &[u8]) -> Result<Priced, FilterError> {
    let filter = Filter::compile(expression)?;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut count) = (Instant::now(), 0_u32);
            while start.elapsed() < ROUND {
                for _ in 0..AT_ONCE {
                    black_box(filter.matches(black_box(properties)));
                }
                count += AT_ONCE;
            }
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let matches = filter.matches(properties);
    Ok(Priced { expression, matches, nanoseconds: rounds[ROUNDS / 2] })
}
