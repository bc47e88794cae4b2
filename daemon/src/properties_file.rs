//! Java's properties syntax, as configuration files and the bodies of
//! `UPDATE_BROKER_CONFIG` and `UPDATE_NAMESRV_CONFIG` use it: text in, entries out. The broker uses this module too.
//!
//! Differences from `java.util.Properties`, both on purpose: bytes are UTF-8 first and Latin-1 only when they are not
//! UTF-8, and blanks at the end of a value are dropped unless escaped (a number followed by a blank is a number).
//! Duplicates are kept in order: the reader of the entries decides, and can name both lines.
//! Pure: no file is opened here.

use std::borrow::Cow;

/// One `key = value` of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key with its escapes resolved; may be empty.
    pub key: String,
    /// Value with its escapes resolved, without unescaped blanks at its ends.
    pub value: String,
    /// Line of the file where the entry starts, counted from 1.
    pub line: usize,
}

/// A `\uXXXX` escape that is not four hexadecimal digits. Java refuses the whole file for it, and so do we.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits")]
pub struct BadEscape {
    /// Line where the entry with the bad escape starts, counted from 1.
    pub line: usize,
}

/// Bytes of a file as text. Never fails: what is not UTF-8 is Latin-1, as Java writes it.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// All entries of `text` in their order, or every bad escape in it.
pub fn entries(text: &str) -> Result<Vec<Entry>, Vec<BadEscape>> {
    let mut entries = Vec::new();
    let mut bad = Vec::new();
    let mut lines = natural_lines(text).enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = Cow::Borrowed(first);
        while ends_with_open_backslash(&logical) {
            let Some((_, next)) = lines.next() else { break };
            let joined = logical.to_mut();
            joined.pop();
            joined.push_str(next.trim_start_matches(is_blank));
        }
        match entry_of(&logical, index + 1) {
            Ok(entry) => entries.push(entry),
            Err(error) => bad.push(error),
        }
    }
    if bad.is_empty() { Ok(entries) } else { Err(bad) }
}

/// Appends `key=value` and a line feed so that [`entries`] and Java read back exactly this key and value.
pub fn write_entry(out: &mut String, key: &str, value: &str) {
    write_escaped(out, key, true);
    out.push('=');
    write_escaped(out, value, false);
    out.push('\n');
}

/// Blanks of the format: Java counts the form feed, but no other Unicode space.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines ended by LF, CR or CR LF, without their ends.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let (line, tail) = text.split_at(end);
        let tail = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r']));
        rest = tail;
        Some(line)
    })
}

/// True when the text ends in an odd number of backslashes: the last one escapes what follows.
fn ends_with_open_backslash(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn entry_of(logical: &str, line: usize) -> Result<Entry, BadEscape> {
    let mut escaped = false;
    let key_end = logical
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
            escaped = !escaped && *c == '\\';
            ends
        })
        .map_or(logical.len(), |(index, _)| index);
    let (key, rest) = logical.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    let value = without_trailing_blanks(rest.trim_start_matches(is_blank));
    Ok(Entry { key: unescaped(key, line)?, value: unescaped(value, line)?, line })
}

/// Drops blanks at the end, except one that a backslash protects.
fn without_trailing_blanks(value: &str) -> &str {
    let trimmed = value.trim_end_matches(is_blank);
    let blanks_cut = trimmed.len() < value.len();
    if blanks_cut && ends_with_open_backslash(trimmed) {
        let protected = value[trimmed.len()..].chars().next().map_or(0, char::len_utf8);
        return &value[..trimmed.len() + protected];
    }
    trimmed
}

fn unescaped(text: &str, line: usize) -> Result<String, BadEscape> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // Java's escapes are UTF-16 units: a pair of them may form one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut unit_buffer = [0; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = if c == '\\' {
            match chars.next() {
                None => break,
                Some('u') => {
                    units.push(unicode_unit(&mut chars).ok_or(BadEscape { line })?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
            }
        } else {
            c
        };
        units.extend_from_slice(plain.encode_utf16(&mut unit_buffer));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn unicode_unit(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0_u16;
    for _ in 0..4 {
        let digit = u16::try_from(chars.next()?.to_digit(16)?).ok()?;
        unit = (unit << 4) | digit;
    }
    Some(unit)
}

fn write_escaped(out: &mut String, text: &str, is_key: bool) {
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if is_key || index == 0 || index == last => out.push_str("\\ "),
            '=' | ':' | '#' | '!' if is_key => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(String, String)> {
        entries(text).unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let all = read(text);
        assert_eq!(all.len(), 1, "{text:?} must hold one entry, holds {all:?}");
        all.into_iter().next().unwrap()
    }

    /// What an operator may write in a file, and what it means.
    #[test]
    fn every_way_to_write_an_entry_is_understood() {
        let cases = [
            ("a=b", "a", "b"),
            ("a = b  \t", "a", "b"),
            ("a:b", "a", "b"),
            ("a b", "a", "b"),
            ("  a \t : b = c", "a", "b = c"),
            ("a==b", "a", "=b"),
            ("a", "a", ""),
            ("a=", "a", ""),
            ("=b", "", "b"),
            ("a\\ b=c", "a b", "c"),
            ("a\\=b=c", "a=b", "c"),
            ("path=C:\\\\data", "path", "C:\\data"),
            ("a=b\\\n    c", "a", "bc"),
            ("a=b\\\r\n    c", "a", "bc"),
            ("a=b\\\n# not a comment", "a", "b# not a comment"),
            ("a=\\u00e9\\uD83D\\uDE00", "a", "\u{e9}\u{1f600}"),
            ("a=b\\ ", "a", "b "),
            ("a=b\\\\ ", "a", "b\\"),
            ("a=1 # kept", "a", "1 # kept"),
            ("a=b\\", "a", "b"),
            ("b: 2", "b", "2"),
            ("  d  =  4", "d", "4"),
            ("list=a;\\\n   b;\\\n   c", "list", "a;b;c"),
            ("path=C:\\\\dir\\tx", "path", "C:\\dir\tx"),
            ("k\\=y=z", "k=y", "z"),
            ("u=\\u00e4", "u", "ä"),
            ("listenPort=9876  \n", "listenPort", "9876"),
        ];
        for (text, key, value) in cases {
            assert_eq!(one(text), (key.to_owned(), value.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_lines_are_counted() {
        let text = "# one\n! two\n\n   \t\r\n  # three\rkey=1\\\n 2\nother=3";
        let all = entries(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].key.as_str(), all[0].value.as_str(), all[0].line), ("key", "12", 6));
        assert_eq!((all[1].key.as_str(), all[1].line), ("other", 8));
    }

    #[test]
    fn nothing_is_no_entry_and_a_key_that_comes_twice_is_given_twice() {
        assert_eq!(read(""), vec![]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("a=1\r\na=2"), vec![pair("a", "1"), pair("a", "2")]);
    }

    #[test]
    fn all_bad_escapes_are_named_with_their_lines() {
        let bad = entries("a=\\u12\nb=1\nc=\\uxyzw").unwrap_err();
        assert_eq!(bad, vec![BadEscape { line: 1 }, BadEscape { line: 3 }]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin1() {
        assert_eq!(text_of(b"name=caf\xe9"), "name=caf\u{e9}");
        assert_eq!(text_of("\u{feff}name=caf\u{e9}".as_bytes()), "name=caf\u{e9}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in proptest::collection::vec((".{0,12}", ".{0,24}"), 0..8)) {
            let mut text = String::from("# written by a test\n");
            for (key, value) in &pairs {
                write_entry(&mut text, key, value);
            }
            prop_assert!(text.is_ascii());
            prop_assert_eq!(read(&text), pairs);
        }

        #[test]
        fn odd_pairs_of_format_characters_survive(key in "[ \\\\=:#!\t\n\r\u{c}u]{0,8}", value in "[ \\\\=:#!\t\n\r\u{c}u]{0,12}") {
            let mut text = String::new();
            write_entry(&mut text, &key, &value);
            prop_assert_eq!(one(&text), (key, value));
        }

        #[test]
        fn no_text_panics_and_lines_never_go_back(text in "[ab \\\\=:#!\t\n\ru0-9]{0,200}") {
            if let Ok(all) = entries(&text) {
                prop_assert!(all.windows(2).all(|pair| pair[0].line < pair[1].line));
            }
        }
    }
}
