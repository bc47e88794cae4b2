//! A small YAML file as a tree that knows where each of its parts stands.
//!
//! What configuration files of accounts do not need is refused: aliases, tags that name a type, more than one document. So the tree
//! is never larger than its text.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Bytes of a file, at most.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lists and mappings within each other, at most.
const DEPTH_MAX: usize = 16;

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct YamlError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A part of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Line where it begins, counted from 1.
    pub line: usize,
    /// Column where it begins, counted from 0.
    pub column: usize,
    /// Where it begins, bytes.
    pub start: usize,
    /// Behind its last character, bytes; of a list or mapping without brackets, behind that of its last part.
    pub end: usize,
    /// What it says.
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text, number or whatever; nothing at all is "".
    Scalar { text: String, plain: bool },
    /// A list; `flow`: in brackets.
    List { items: Vec<Node>, flow: bool },
    /// A mapping, in the order of the text.
    Map { entries: Vec<(Node, Node)>, flow: bool },
}

impl Node {
    /// Its text, if it is neither a list nor a mapping.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it says nothing: blank, `~` or `null` without quotes.
    pub(crate) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }
}

/// Reads a text. `None`: there is nothing in it.
pub(crate) fn read(text: &str) -> Result<Option<Node>, YamlError> {
    if text.len() > FILE_BYTES_MAX {
        let reason = format!("{} bytes, the limit is {FILE_BYTES_MAX}", text.len());
        return Err(YamlError { line: 1, reason });
    }
    let mut parser = Parser::new_from_str(text);
    let mut tree = Tree { places: Places::of(text), open: Vec::new(), root: None };
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| YamlError {
            line: error.marker().line(),
            reason: error.info().to_owned(),
        })?;
        tree.take(event, span)
            .map_err(|reason| YamlError { line: span.start.line(), reason: reason.to_owned() })?;
    }
    Ok(tree.root.filter(|root| !root.is_null()))
}

/// Characters to bytes: they differ once a character takes several.
struct Places(Option<Vec<usize>>, usize);

impl Places {
    fn of(text: &str) -> Places {
        let places = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Places(places, text.len())
    }

    fn byte(&self, character: usize) -> usize {
        match &self.0 {
            Some(places) => places.get(character).copied().unwrap_or(self.1),
            None => character.min(self.1),
        }
    }
}

struct Open {
    node: Node,
    /// Of a mapping: the key that waits for its value.
    key: Option<Node>,
}

struct Tree {
    places: Places,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), &'static str> {
        let tag = match &event {
            Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
                tag
            }
            _ => &None,
        };
        if tag.as_ref().is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err("tags (!type) are not supported");
        }
        match event {
            Event::Alias(_) => Err("aliases (*name) are not supported"),
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let mut node = self.node(span, Value::Scalar { text: text.into_owned(), plain });
                node.end = self.places.byte(span.end.index());
                self.add(node)
            }
            Event::SequenceStart(..) => {
                self.begin(span, |flow| Value::List { items: Vec::new(), flow })
            }
            Event::MappingStart(..) => {
                self.begin(span, |flow| Value::Map { entries: Vec::new(), flow })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else { return Err("a list ends twice") };
                let in_brackets = matches!(
                    open.node.value,
                    Value::List { flow: true, .. } | Value::Map { flow: true, .. }
                );
                if in_brackets {
                    open.node.end = self.places.byte(span.end.index());
                }
                self.add(open.node)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err("a second document begins"),
            _ => Ok(()),
        }
    }

    fn node(&self, span: Span, value: Value) -> Node {
        let start = self.places.byte(span.start.index());
        Node { line: span.start.line(), column: span.start.col(), start, end: start, value }
    }

    fn begin(&mut self, span: Span, value: fn(bool) -> Value) -> Result<(), &'static str> {
        if self.open.len() >= DEPTH_MAX {
            return Err("lists and mappings within each other are nested too deep");
        }
        // An opening bracket takes a character; a list by indentation begins with its first part.
        let flow = span.end.index() > span.start.index();
        let node = self.node(span, value(flow));
        self.open.push(Open { node, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), &'static str> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.node.end = open.node.end.max(node.end);
        match &mut open.node.value {
            Value::List { items, .. } => items.push(node),
            Value::Map { entries, .. } => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            Value::Scalar { .. } => return Err("a text holds nothing"),
        }
        Ok(())
    }
}

/// A text in double quotes, which every reader of YAML takes for a text; names and permissions stand as they are.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if begins_well && !is_word && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\U{:08x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_know_their_place() {
        let text = "# ä\nlist:\n- a: ü # why\n  b: [1, 2]\n- x\nlast: 'q'\n";
        let root = read(text).expect("good").expect("something");
        let Value::Map { entries, flow: false } = &root.value else { panic!("{root:?}") };
        let Value::List { items, flow: false } = &entries[0].1.value else { panic!() };
        assert_eq!(&text[items[0].start..items[0].end], "a: ü # why\n  b: [1, 2]");
        assert_eq!((items[0].line, items[0].column), (3, 2));
        let Value::Map { entries: inside, .. } = &items[0].value else { panic!() };
        assert_eq!(&text[inside[1].1.start..inside[1].1.end], "[1, 2]");
        assert_eq!(&text[entries[1].1.start..entries[1].1.end], "'q'");
        assert_eq!(root.end, text.len() - 1);
    }

    #[test]
    fn what_no_file_of_accounts_needs_is_refused_with_its_line() {
        for (text, line) in [
            ("a: &x 1\nb: *x\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: !java.Class {}\n", 1),
            ("a: [1\n", 2),
            ("a:\n  - b\n c: d\n", 3),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.line.abs_diff(line) <= 1, "{text}: {error}");
        }
        let deep = "[".repeat(100);
        assert!(read(&deep).expect_err("deep").reason.contains("deep"));
        assert!(read(&"x".repeat(FILE_BYTES_MAX + 1)).is_err());
        assert_eq!(read("# nothing\n").expect("good"), None);
        assert_eq!(read("").expect("good"), None);
    }

    #[test]
    fn quoted_texts_are_read_again() {
        for text in [
            "a",
            "12345678",
            "a=PUB|SUB",
            "true",
            "",
            "x: y",
            "\"\\\n\u{7}",
            "#c",
            "- d",
            "ä\u{2028}",
        ] {
            let root = read(&format!("k: {}\n", quoted(text))).expect(text).expect("something");
            let Value::Map { entries, .. } = &root.value else { panic!("{root:?}") };
            assert_eq!(entries[0].1.text(), Some(text));
        }
    }
}
