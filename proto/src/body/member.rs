//! What a member of a JSON body can be, and the macro that declares a body as a table of its members.
//!
//! A body is declared once, by `body!`: struct, default, reader and writer come from the same line of each member. Reading
//! is as lenient as fastjson (see `fields`), writing has Java's shape (see `writer`). Used by every file of `body`.
//! Always holds: members are declared in the alphabetical order in which Java writes them; the compiler checks it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::BodyError;
use super::fields::{Fields, VALUE_BYTES, text};
use super::writer::{self, Dialect, object};

/// A type that a member can have.
pub(super) trait Member: Sized {
    /// Reads a value that is not null; `name` is the member's, for errors. `None` when the value counts as absent, such as
    /// a name that an enum does not know.
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError>;

    /// Whether the member is left out of its object.
    fn is_absent(&self) -> bool {
        false
    }

    /// Appends the value.
    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect);
}

/// A type that the keys of a table can have.
pub(super) trait Key: Ord + Sized {
    /// The key that this text means, as strict JSON has it; `None` when it is none of this kind.
    fn from_text(text: &str) -> Option<Self>;

    /// Appends the key with the quotes that the dialect gives it.
    fn write_key(&self, out: &mut Vec<u8>, dialect: Dialect);
}

/// Whole numbers, possibly written as strings; as keys without quotes in fastjson's dialect.
macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl Member for $integer {
            fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
                let whole = match value {
                    Value::Number(number) => number.as_i64(),
                    Value::String(text) => text.trim().parse().ok(),
                    Value::Bool(flag) => Some(i64::from(*flag)),
                    _ => None,
                };
                let in_range = whole.and_then(|whole| Self::try_from(whole).ok());
                let expected = "a whole number in range";
                in_range.map(Some).ok_or(BodyError::Member { name, expected })
            }

            fn write_value(&self, out: &mut Vec<u8>, _: Dialect) {
                writer::int(out, *self);
            }
        }

        impl Key for $integer {
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn write_key(&self, out: &mut Vec<u8>, dialect: Dialect) {
                match dialect {
                    Dialect::Fastjson => writer::int(out, *self),
                    Dialect::Standard => writer::text(out, &self.to_string(), dialect),
                }
            }
        })*
    };
}

integers!(i32 i64);

/// A finite number; one that is none is written as `null`, as fastjson does.
impl Member for f64 {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        finite.map(Some).ok_or(BodyError::Member { name, expected: "a number" })
    }

    fn write_value(&self, out: &mut Vec<u8>, _: Dialect) {
        let text = if self.is_finite() { format!("{self:?}") } else { "null".to_owned() };
        out.extend_from_slice(text.as_bytes());
    }
}

/// A truth value: `true`, `"true"`, `1` and their opposites; an empty text counts as absent.
impl Member for bool {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        match text(value, name)?.as_str() {
            "true" | "TRUE" | "1" | "Y" | "T" => Ok(Some(true)),
            "false" | "FALSE" | "0" | "F" | "N" => Ok(Some(false)),
            "" | "null" => Ok(None),
            _ => Err(BodyError::Member { name, expected: "true or false" }),
        }
    }

    fn write_value(&self, out: &mut Vec<u8>, _: Dialect) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

/// A text; numbers and booleans count as their own text.
impl Member for String {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        text(value, name).map(Some)
    }

    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect) {
        writer::text(out, self, dialect);
    }
}

impl Key for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn write_key(&self, out: &mut Vec<u8>, dialect: Dialect) {
        writer::text(out, self, dialect);
    }
}

/// Any value, kept as it is and given back: its members mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub Value);

impl Json {
    /// Memory that it takes up, allocator included: many times the bytes of its text. Its depth is bounded where it is read.
    pub fn memory_bytes(&self) -> usize {
        value_bytes(&self.0)
    }
}

/// A node of a map, which has room for eleven members and holds five or more when there are several.
const MAP_NODE_BYTES: usize = 704;
const MAP_NODE_MEMBERS: usize = 5;

fn value_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(members) => {
            let nodes = 1 + members.len() / MAP_NODE_MEMBERS;
            let each = members.iter();
            let each = each.map(|(name, value)| VALUE_BYTES + name.len() + value_bytes(value));
            nodes * MAP_NODE_BYTES + each.sum::<usize>()
        }
        Value::String(text) => text.len(),
        _ => 0,
    };
    VALUE_BYTES + inside
}

impl Member for Json {
    fn from_value(value: &Value, _: &'static str) -> Result<Option<Self>, BodyError> {
        Ok(Some(Json(value.clone())))
    }

    fn write_value(&self, out: &mut Vec<u8>, _: Dialect) {
        // Strict JSON, which every dialect reads.
        out.extend_from_slice(self.0.to_string().as_bytes());
    }
}

/// A member that is left out when there is none.
impl<T: Member> Member for Option<T> {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        Ok(T::from_value(value, name)?.map(Some))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect) {
        if let Some(value) = self {
            value.write_value(out, dialect);
        }
    }
}

/// A list; null elements are skipped.
impl<T: Member> Member for Vec<T> {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        let Value::Array(values) = value else {
            return Err(BodyError::Member { name, expected: "a list" });
        };
        let present = values.iter().filter(|value| !value.is_null());
        let read = present.filter_map(|value| T::from_value(value, name).transpose());
        read.collect::<Result<_, _>>().map(Some)
    }

    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect) {
        out.push(b'[');
        for (index, element) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            element.write_value(out, dialect);
        }
        out.push(b']');
    }
}

/// A table; entries with a null value are skipped. Written in the order of its keys.
impl<K: Key, V: Member> Member for BTreeMap<K, V> {
    fn from_value(value: &Value, name: &'static str) -> Result<Option<Self>, BodyError> {
        let mut table = BTreeMap::new();
        for (key, value) in Fields::of(value, name)?.entries() {
            let expected = "a table with keys of its kind";
            let key = K::from_text(key).ok_or(BodyError::Member { name, expected })?;
            if let Some(value) = V::from_value(value, name)? {
                table.insert(key, value);
            }
        }
        Ok(Some(table))
    }

    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect) {
        object(out, dialect, |members| {
            for (key, value) in self {
                members.entry(key, value);
            }
        });
    }
}

/// Declares a body as a table. Behind its name stand the name that errors give it and, for what is a body or file of its
/// own, its limit in bytes, which makes it readable by `read` and writable by `write`. A member has a type, a wire name and
/// possibly one rule:
/// - `default(value)`: what an absent one means; without it the default of its type;
/// - `omit_default`: not written while it has the default of its type;
/// - `or_from("name")`: read from there when it is absent.
macro_rules! body {
    (
        $(#[$outer:meta])*
        $name:ident($called:literal $(, $bytes_max:expr)?) {
            $($(#[$inner:meta])* $field:ident: $type:ty = $wire:literal $($rule:ident $(($argument:expr))?)?,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$inner])* pub $field: $type,)*
        }

        const _: () = assert!($crate::body::member::alphabetical(&[$($wire),*]));

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $crate::body::member::absent!($($rule $(($argument))?)?),)* }
            }
        }

        impl $crate::body::member::Member for $name {
            fn from_value(
                value: &serde_json::Value,
                _: &'static str,
            ) -> Result<Option<Self>, $crate::body::BodyError> {
                let fields = $crate::body::fields::Fields::of(value, $called)?;
                Ok(Some($name {
                    $($field: {
                        let found = $crate::body::member::read_member!(
                            fields, $wire, $($rule $(($argument))?)?
                        );
                        match found {
                            Some(value) => value,
                            None => $crate::body::member::absent!($($rule $(($argument))?)?),
                        }
                    },)*
                }))
            }

            fn write_value(&self, out: &mut Vec<u8>, dialect: $crate::body::writer::Dialect) {
                $crate::body::writer::object(out, dialect, |members| {
                    $($crate::body::member::write_member!(
                        members, $wire, self.$field, $($rule $(($argument))?)?
                    );)*
                });
            }
        }

        $(impl $name {
            #[doc = concat!("Reads a body or file of at most `", stringify!($bytes_max), "` bytes.")]
            pub fn read(bytes: &[u8]) -> Result<Self, $crate::body::BodyError> {
                let value = $crate::body::fields::parse(bytes, $bytes_max)?;
                let body = <Self as $crate::body::member::Member>::from_value(&value, $called)?;
                Ok(body.unwrap_or_default())
            }

            /// Appends the body.
            pub fn write(&self, out: &mut Vec<u8>) {
                let dialect = $crate::body::writer::Dialect::Fastjson;
                $crate::body::member::Member::write_value(self, out, dialect);
            }
        })?
    };
}
pub(super) use body;

/// What a member has when it is absent.
macro_rules! absent {
    (default($value:expr)) => {
        $value
    };
    ($($rule:tt)*) => {
        Default::default()
    };
}
pub(super) use absent;

/// Reads a member, if it is there.
macro_rules! read_member {
    ($fields:ident, $wire:literal, or_from($other:expr)) => {
        match $fields.read($wire)? {
            None => $fields.read($other)?,
            found => found,
        }
    };
    ($fields:ident, $wire:literal, $($rule:tt)*) => {
        $fields.read($wire)?
    };
}
pub(super) use read_member;

/// Writes a member.
macro_rules! write_member {
    ($members:ident, $wire:literal, $value:expr, omit_default) => {
        $members.put_unless_default($wire, &$value)
    };
    ($members:ident, $wire:literal, $value:expr, $($rule:tt)*) => {
        $members.put($wire, &$value)
    };
}
pub(super) use write_member;

/// Whether names stand in ascending order without doubles.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
pub(super) const fn alphabetical(names: &[&str]) -> bool {
    let mut next = 1;
    while next < names.len() {
        if !precedes(names[next - 1].as_bytes(), names[next].as_bytes()) {
            return false;
        }
        next += 1;
    }
    true
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn precedes(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "bodies are public wherever they are declared")]
mod tests {
    use super::*;

    body! {
        /// One member of each rule.
        Sample("sample", 100) {
            /// Plain.
            a: i32 = "a",
            /// With a default.
            b: String = "b" default("x".to_owned()),
            /// Left out while it says nothing.
            c: bool = "c" omit_default,
            /// With a former name.
            d: i64 = "d" or_from("D"),
            /// Left out when there is none.
            e: Option<String> = "e",
        }
    }

    fn written(sample: &Sample) -> String {
        let mut out = Vec::new();
        sample.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_absent_member_has_its_default() {
        for text in ["{}", "{a:null,b:null,c:''}"] {
            assert_eq!(Sample::read(text.as_bytes()).expect(text), Sample::default());
        }
        assert_eq!(Sample::default().b, "x");
        assert_eq!(written(&Sample::default()), r#"{"a":0,"b":"x","d":0}"#);
    }

    #[test]
    fn every_member_goes_out_and_comes_back() {
        let sample = Sample { a: 1, b: "y".to_owned(), c: true, d: 2, e: Some("z".to_owned()) };
        let text = r#"{"a":1,"b":"y","c":true,"d":2,"e":"z"}"#;
        assert_eq!(written(&sample), text);
        assert_eq!(Sample::read(text.as_bytes()).expect("our own"), sample);
        let former = Sample::read(br#"{"D":"2"}"#).expect("former name");
        assert_eq!(former, Sample { d: 2, ..Sample::default() });
    }

    #[test]
    fn order_is_strict() {
        assert!(alphabetical(&[]) && alphabetical(&["a"]) && alphabetical(&["a", "aB", "ab", "b"]));
        assert!(
            !alphabetical(&["b", "a"]) && !alphabetical(&["a", "a"]) && !alphabetical(&["ab", "a"])
        );
    }
}
