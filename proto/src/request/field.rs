//! From the text of an ext field to its type, and the macro that declares a typed header as a table.

use thiserror::Error;

/// Bytes of a bad value that an error repeats; a peer may send 16 MiB.
const SHOWN_BYTES_MAX: usize = 64;

/// A mandatory field is missing, or a field does not have its type. The text is fit for a remark.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct FieldError {
    /// Wire name of the field.
    pub field: &'static str,
    /// What was sent, cut at 64 bytes; `None` when the field was missing.
    pub value: Option<String>,
    /// What would have been right, such as `a 32 bit number`.
    pub expected: &'static str,
}

impl FieldError {
    #[cold]
    pub(super) fn new(field: &'static str, value: Option<&str>, expected: &'static str) -> Self {
        let cut =
            |text: &str| text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).map(str::to_owned);
        Self { field, value: value.and_then(cut), expected }
    }

    fn sentence(&self) -> String {
        match &self.value {
            Some(value) => format!("field {} is {value:?}, expected {}", self.field, self.expected),
            None => format!("field {} is missing, expected {}", self.field, self.expected),
        }
    }
}

/// A type that an ext field can have.
pub(super) trait Field<'a>: Sized {
    const EXPECTED: &'static str;
    fn read(text: &'a str) -> Option<Self>;
}

impl<'a> Field<'a> for &'a str {
    const EXPECTED: &'static str = "text";
    fn read(text: &'a str) -> Option<Self> {
        Some(text)
    }
}

impl Field<'_> for i32 {
    const EXPECTED: &'static str = "a 32 bit number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Field<'_> for i64 {
    const EXPECTED: &'static str = "a 64 bit number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Java reads only `true` (in any case) as true; C++ writes `1` and means it.
impl Field<'_> for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(text: &str) -> Option<Self> {
        Some(text == "1" || text.eq_ignore_ascii_case("true"))
    }
}

/// A field without which the request makes no sense.
pub(super) fn required<'a, T: Field<'a>>(
    name: &'static str,
    text: Option<&'a str>,
) -> Result<T, FieldError> {
    text.and_then(T::read).ok_or_else(|| FieldError::new(name, text, T::EXPECTED))
}

/// A field that may be absent; unreadable counts as absent, as in Java.
pub(super) fn optional<'a, T: Field<'a>>(text: Option<&'a str>) -> Option<T> {
    text.and_then(T::read)
}

/// A field that may be absent and means something else then: what is unreadable must not count as absent.
pub(super) fn readable<'a, T: Field<'a>>(
    name: &'static str,
    text: Option<&'a str>,
) -> Result<Option<T>, FieldError> {
    text.map(|text| required(name, Some(text))).transpose()
}

/// Declares a typed header as a table: field, type, wire name, and `required`, `optional` (an `Option`), `readable` (the
/// same, but what is unreadable is an error) or `default(value)`.
macro_rules! header {
    (
        $(#[$outer:meta])*
        $name:ident {
            $($(#[$inner:meta])* $field:ident: $type:ty = $wire:literal $rule:ident $(($default:expr))?,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$inner])* pub $field: $type,)*
        }

        impl<'a> $name<'a> {
            /// Reads the fields of a request header; the first bad mandatory one is the error.
            pub fn from_ext(ext: &$crate::command::Ext<'a>) -> Result<Self, $crate::request::FieldError> {
                // Wire names as bytes: matching bytes compiles to one decision tree, matching text to a chain of
                // comparisons.
                #[allow(non_upper_case_globals, reason = "named as the field")]
                mod wire {
                    $(pub(super) const $field: &[u8] = $wire.as_bytes();)*
                }
                $(let mut $field: Option<&'a str> = None;)*
                for (key, value) in ext.iter() {
                    match key.as_bytes() {
                        $(wire::$field => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok(Self { $($field: $crate::request::field::rule!($rule $wire, $field $(, $default)?),)* })
            }
        }
    };
}
pub(super) use header;

macro_rules! rule {
    (required $wire:literal, $text:ident) => {
        $crate::request::field::required($wire, $text)?
    };
    (optional $wire:literal, $text:ident) => {
        $crate::request::field::optional($text)
    };
    (readable $wire:literal, $text:ident) => {
        $crate::request::field::readable($wire, $text)?
    };
    (readable $wire:literal, $text:ident, $default:expr) => {
        $crate::request::field::readable($wire, $text)?.unwrap_or($default)
    };
    (default $wire:literal, $text:ident, $default:expr) => {
        $crate::request::field::optional($text).unwrap_or($default)
    };
}
pub(super) use rule;
