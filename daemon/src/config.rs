//! Configuration keys, declared once: the struct, its defaults, reading, printing and what is said about a bad value.
//!
//! [`crate::config_keys!`] turns a table of keys into a struct and a constant `KEYS`; `value` says how each type is read from
//! text and printed again. Files are [`crate::properties_file`]'s. What always holds: every value reads its own text.

mod value;

pub use value::{ConfigKind, ConfigValue, addresses, host_and_port, ip_of};

/// Edits by which a mistyped key may differ from the one we suggest, per [`EDITS_PER_CHARS`] characters, plus one.
const EDITS_PER_CHARS: usize = 5;

/// When a changed value begins to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At the next start.
    Start,
    /// Never again: it is written into the store when that is formatted.
    Format,
    /// At once, also when it is changed over the wire.
    Live,
    /// Read and shown, but nothing acts on it yet.
    Later,
}

/// One key of the configuration `C`.
pub struct Key<C> {
    /// Name as it stands in the file.
    pub name: &'static str,
    /// What it accepts.
    pub kind: ConfigKind,
    /// Unit of the value, empty for none.
    pub unit: &'static str,
    /// When a change acts.
    pub effect: Effect,
    /// Whether it decides what the program does.
    pub important: bool,
    /// What it means, one paragraph.
    pub doc: &'static str,
    /// The current value as text.
    pub text: fn(&C) -> String,
    /// Sets the value; false: `text` is not acceptable and nothing was changed.
    pub set: fn(&mut C, &str) -> bool,
}

/// The key of this name.
pub fn find<C>(keys: &'static [Key<C>], name: &str) -> Option<&'static Key<C>> {
    keys.iter().find(|key| key.name == name)
}

/// The known key that `name` was probably meant to be, if one is near enough.
pub fn nearest_key(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    known
        .map(|key| (strsim::damerau_levenshtein(&wanted, &key.to_lowercase()), key))
        .min()
        .filter(|(edits, key)| *edits <= 1 + key.len() / EDITS_PER_CHARS)
        .map(|(_, key)| key)
}

/// Declares a configuration: `field: type = default, "name", kind, "unit", Effect [, important];` with a doc comment for
/// each key, and after `besides` fields that no key sets. Gives the struct, its `Default`, and `KEYS` in the order of
/// the table.
#[macro_export]
macro_rules! config_keys {
    (
        $(#[$of_struct:meta])*
        $vis:vis struct $config:ident { $(
            $(#[doc = $doc:literal])+
            $field:ident: $type:ty = $default:expr, $name:literal, $kind:expr, $unit:literal, $effect:ident $(, $important:ident)?;
        )+ }
        $( besides { $(
            $(#[doc = $besides_doc:literal])+
            $besides:ident: $besides_type:ty = $besides_default:expr;
        )+ } )?
    ) => {
        $(#[$of_struct])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $config {
            $( $(#[doc = $doc])+ $vis $field: $type, )+
            $( $( $(#[doc = $besides_doc])+ $vis $besides: $besides_type, )+ )?
        }

        impl Default for $config {
            fn default() -> Self {
                $config { $( $field: $default, )+ $( $( $besides: $besides_default, )+ )? }
            }
        }

        /// Every key that means something here, in the order in which it is printed.
        $vis const KEYS: &[$crate::config::Key<$config>] = &[ $( $crate::config::Key {
            name: $name,
            kind: $kind,
            unit: $unit,
            effect: $crate::config::Effect::$effect,
            important: false $( || !stringify!($important).is_empty() )?,
            doc: concat!($($doc),+),
            text: |config| $crate::config::ConfigValue::text(&config.$field),
            set: |config, text| match <$type as $crate::config::ConfigValue>::read(text, &$kind) {
                Some(value) => { config.$field = value; true }
                None => false,
            },
        }, )+ ];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOORS: ConfigKind = ConfigKind::Whole { min: 1, max: 9 };

    config_keys! {
        /// A garage.
        struct Garage {
            /// Doors of the garage.
            doors: u16 = 2, "doors", DOORS, "", Start, important;
            /// Whether the light is on.
            light: bool = false, "lightOn", ConfigKind::Bool, "", Live;
        }
        besides {
            /// What was said and not understood.
            ignored: Vec<String> = Vec::new();
        }
    }

    #[test]
    fn a_table_becomes_a_struct_with_keys() {
        let mut garage = Garage::default();
        let names: Vec<_> = KEYS.iter().map(|key| (key.name, key.important, key.effect)).collect();
        assert_eq!(names, [("doors", true, Effect::Start), ("lightOn", false, Effect::Live)]);
        let doors = find(KEYS, "doors").expect("it is in the table");
        assert!((doors.set)(&mut garage, "3"));
        assert!(!(doors.set)(&mut garage, "10"));
        assert_eq!((doors.text)(&garage), "3");
        assert_eq!(garage, Garage { doors: 3, light: false, ignored: Vec::new() });
        assert!(find(KEYS, "Doors").is_none());
        assert_eq!(doors.doc.trim(), "Doors of the garage.");
    }

    #[test]
    fn a_mistyped_key_is_recognised_when_it_is_near() {
        let nearest = |name| nearest_key(name, KEYS.iter().map(|key| key.name));
        assert_eq!(nearest("LIGHTON"), Some("lightOn"));
        assert_eq!(nearest("lihgton"), Some("lightOn"));
        assert_eq!(nearest("completelyElse"), None);
    }
}
