//! Whether a message matches. Conditions have three values; what cannot be converted ends the evaluation, and the message does
//! not match, unless the other side of an AND or OR had decided before.

use crate::{Filter, Node, Number, Order, Place, Value, number};
use std::{cmp::Ordering, fmt};

/// Expressions with more properties allocate.
const NAMES_ON_STACK: usize = 16;
/// Between properties, and between a name and its value.
const PROPERTY_END: u8 = 2;
const NAME_END: u8 = 1;

/// A value could not be converted, or can never be compared.
struct Incomparable;

type Evaluated<'a> = Result<Value<'a>, Incomparable>;

pub(crate) fn matches(filter: &Filter, properties: &[u8]) -> bool {
    let mut few = [None; NAMES_ON_STACK];
    let mut many;
    let values = match few.get_mut(..filter.names.len()) {
        Some(few) => few,
        None => {
            many = vec![None; filter.names.len()];
            &mut many
        }
    };
    find(&filter.names, properties, values);
    matches!(Message(values).value(&filter.root), Ok(Value::Bool(true)))
}

/// Takes the values of all names out of the properties' text. The last one of a name counts; one without a value is none.
fn find<'a>(names: &[Box<str>], properties: &'a [u8], values: &mut [Option<&'a [u8]>]) {
    if names.is_empty() {
        return;
    }
    let mut rest = properties;
    while !rest.is_empty() {
        let end = memchr::memchr(PROPERTY_END, rest).unwrap_or(rest.len());
        let (property, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        // Where a name ends is looked for only where one of ours begins.
        for (name, known) in names.iter().zip(&mut *values) {
            if let Some([NAME_END, value @ ..]) = property.strip_prefix(name.as_bytes())
                && !value.is_empty()
            {
                *known = Some(value);
            }
        }
    }
}

/// The values of a message's properties, by the number of their name.
struct Message<'a>(&'a [Option<&'a [u8]>]);

impl<'a> Message<'a> {
    fn value(&self, node: &'a Node) -> Evaluated<'a> {
        Ok(match node {
            Node::Property(number) => self.property(*number),
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Number(number) => (*number).into(),
            Node::Text(text) => Value::Text(text.as_bytes()),
            Node::Cast(number) => match self.property(*number) {
                Value::Null => Value::Null,
                _ => Value::Bool(false),
            },
            Node::Negate(of) => negated(self.value(of)?),
            Node::Not(of) => match self.value(of)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Node::And(of) => decided_by(false, of.iter().map(|node| self.value(node)))?,
            Node::Or(of) => decided_by(true, of.iter().map(|node| self.value(node)))?,
            Node::Equal(of) => {
                let [left, right] = &**of;
                equal(self.value(left)?, self.value(right)?)?
            }
            Node::Compare(order, of) => {
                let [left, right] = &**of;
                self.ordered(*order, self.value(left)?, right)?
            }
            Node::Between { negated, of } => {
                let [value, low, high] = &**of;
                let value = self.value(value)?;
                let orders = if *negated {
                    [(Order::Less, low), (Order::Greater, high)]
                } else {
                    [(Order::GreaterOrEqual, low), (Order::LessOrEqual, high)]
                };
                let both = orders.into_iter().map(|(order, end)| self.ordered(order, value, end));
                decided_by(*negated, both)?
            }
            Node::In { negated, property, texts } => match self.property(*property) {
                Value::Text(value) => {
                    let found = texts.binary_search_by(|text| text.as_bytes().cmp(value)).is_ok();
                    Value::Bool(found != *negated)
                }
                _ => Value::Null,
            },
            Node::Search { negated, place, value, wanted } => {
                // Nothing is in no text, and not in none either.
                if wanted.is_empty() {
                    return Ok(Value::Bool(false));
                }
                match self.value(value)? {
                    Value::Text(value) => {
                        Value::Bool(is_in(*place, wanted.as_bytes(), value) != *negated)
                    }
                    _ => Value::Bool(false),
                }
            }
        })
    }

    fn property(&self, number: usize) -> Value<'a> {
        self.0.get(number).copied().flatten().map_or(Value::Null, Value::Text)
    }

    /// What stands on the right is looked at only when there is something on the left.
    fn ordered(&self, order: Order, left: Value<'a>, right: &'a Node) -> Evaluated<'a> {
        if left == Value::Null {
            return Ok(Value::Null);
        }
        let ordering = match (left, self.value(right)?) {
            (_, Value::Null) => return Ok(Value::Null),
            (Value::Text(left), Value::Text(right)) => {
                let [left, right] = [left, right].map(number::double);
                let (left, right) = left.zip(right).ok_or(Incomparable)?;
                number::compare(left, right)
            }
            (left, right) => compare(left, right)?,
        };
        Ok(Value::Bool(match order {
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }))
    }
}

/// AND is decided by what is false, OR by what is true; what stands behind is not looked at.
fn decided_by<'a>(
    decisive: bool,
    conditions: impl Iterator<Item = Evaluated<'a>>,
) -> Evaluated<'a> {
    let mut result = Value::Bool(!decisive);
    for condition in conditions {
        match condition? {
            Value::Bool(value) if value == decisive => return Ok(Value::Bool(decisive)),
            Value::Bool(_) => {}
            _ => result = Value::Null,
        }
    }
    Ok(result)
}

fn negated(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Long(value) => Value::Long(value.wrapping_neg()),
        Value::Double(value) => Value::Double(-value),
        _ => Value::Null,
    }
}

fn is_in(place: Place, wanted: &[u8], value: &[u8]) -> bool {
    match place {
        Place::Anywhere => memchr::memmem::find(value, wanted).is_some(),
        Place::Start => value.starts_with(wanted),
        Place::End => value.ends_with(wanted),
    }
}

fn equal<'a>(left: Value<'a>, right: Value<'a>) -> Evaluated<'a> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Value::Bool(true),
        (Value::Null, _) => Value::Null,
        (_, Value::Null) => Value::Bool(false),
        (left, right) => Value::Bool(compare(left, right)?.is_eq()),
    })
}

/// Orders values of two types. What has no common type is not equal, and less.
fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Incomparable> {
    use Value::{Bool, Double, Int, Long, Text};
    Ok(match (left, right) {
        (Text(left), Text(right)) => left.cmp(right),
        (Bool(left), Bool(right)) => left.cmp(&right),
        (Text(left), Bool(right)) => left.eq_ignore_ascii_case(b"true").cmp(&right),
        // Java fails to convert the truth value.
        (Bool(_), Text(_)) => return Err(Incomparable),
        (Text(left), Int(right)) => number::int(left).ok_or(Incomparable)?.cmp(&right),
        (Text(left), Long(right)) => number::long(left).ok_or(Incomparable)?.cmp(&right),
        (Text(left), Double(right)) => {
            number::compare(number::double(left).ok_or(Incomparable)?, right)
        }
        (Int(left), Text(right)) => left.cmp(&number::int(right).ok_or(Incomparable)?),
        (Long(left), Text(right)) => left.cmp(&number::long(right).ok_or(Incomparable)?),
        (Double(left), Text(right)) => {
            number::compare(left, number::double(right).ok_or(Incomparable)?)
        }
        (left, right) => match (Number::of(left), Number::of(right)) {
            (Some(left), Some(right)) => left.cmp(right),
            _ => Ordering::Less,
        },
    })
}

impl Number {
    fn of(value: Value<'_>) -> Option<Number> {
        match value {
            Value::Int(value) => Some(Number::Int(value)),
            Value::Long(value) => Some(Number::Long(value)),
            Value::Double(value) => Some(Number::Double(value)),
            _ => None,
        }
    }

    /// Whole numbers are compared as such, others as floating-point numbers.
    pub(crate) fn cmp(self, other: Number) -> Ordering {
        match (self.whole(), other.whole()) {
            (Some(one), Some(two)) => one.cmp(&two),
            _ => number::compare(self.double(), other.double()),
        }
    }

    fn whole(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value.into()),
            Number::Long(value) => Some(value),
            Number::Double(_) => None,
        }
    }

    fn double(self) -> f64 {
        match self {
            Number::Int(value) => value.into(),
            Number::Long(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(value) => Value::Int(value),
            Number::Long(value) => Value::Long(value),
            Number::Double(value) => Value::Double(value),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(value) => value.fmt(out),
            Number::Long(value) => value.fmt(out),
            Number::Double(value) => value.fmt(out),
        }
    }
}
