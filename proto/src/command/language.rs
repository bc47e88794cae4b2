//! The languages a peer may announce. Their ordinals travel in binary headers, their names in JSON ones.

/// Implementation language of the peer that wrote a header. Source: Apache RocketMQ 5.3.3, remoting `LanguageCode`
/// (4.9.8 ends at `RUST`). Python and Node bindings announce `CPP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Language {
    #[default]
    Java,
    Cpp,
    Dotnet,
    Python,
    Delphi,
    Erlang,
    Ruby,
    Other,
    Http,
    Go,
    Php,
    Oms,
    Rust,
    NodeJs,
}

/// Every language with its wire name, at the position of its ordinal.
const NAMES: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::Dotnet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const _: () = {
    let mut ordinal = 0;
    while ordinal < NAMES.len() {
        assert!(NAMES[ordinal].0 as usize == ordinal);
        ordinal += 1;
    }
};

impl Language {
    /// The wire name.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.ordinal())).map_or("OTHER", |(_, name)| name)
    }

    /// The language with this wire name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(language, _)| *language)
    }

    /// The language with this ordinal.
    pub fn from_ordinal(ordinal: u8) -> Option<Self> {
        NAMES.get(usize::from(ordinal)).map(|(language, _)| *language)
    }

    /// Position in Java's enum, as binary headers carry it.
    pub const fn ordinal(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ordinals_lead_back() {
        for ordinal in 0..14 {
            let language = Language::from_ordinal(ordinal).unwrap();
            assert_eq!(language.ordinal(), ordinal);
            assert_eq!(Language::from_name(language.name()), Some(language));
        }
        assert_eq!(Language::from_ordinal(14), None);
        assert_eq!(Language::from_name("java"), None);
    }
}
