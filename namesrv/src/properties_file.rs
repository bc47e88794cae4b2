//! The text form of Java properties: `key=value` lines with comments, escapes and continued lines.
//!
//! Used for configuration files and for the bodies of `UPDATE_NAMESRV_CONFIG` and `UPDATE_BROKER_CONFIG`. Differences
//! from Java that help an operator: blanks at the end of a value are dropped (Java keeps them and then silently ignores
//! `listenPort=9876 `), and a broken `\u` escape stays as it is written instead of refusing the whole file.

/// Keys and values in the order of the text; a key that comes twice is given twice (the later one counts).
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_with_open_backslash(&logical) {
            logical.pop();
            match lines.next() {
                Some(next) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let key = unescape(key);
        if !key.is_empty() {
            pairs.push((key, unescape(value.trim_end())));
        }
    }
    pairs
}

/// One `key=value` line (with its end) that [`parse`] reads back as the same pair.
pub fn write_line(out: &mut String, key: &str, value: &str) {
    escape(out, key, true);
    out.push('=');
    escape(out, value, false);
    out.push('\n');
}

/// An odd number of backslashes at the end continues the line.
fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first unescaped `=`, `:` or blank.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        escaped = *c == '\\' && !escaped;
        ends
    });
    let Some((at, _)) = end else {
        return (line, "");
    };
    let (key, rest) = line.split_at(at);
    let rest = rest.trim_start();
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => match utf16_unit(chars.as_str()) {
                Some(decoded) => {
                    out.push(decoded);
                    chars.nth(3);
                }
                None => out.push_str("\\u"),
            },
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn utf16_unit(digits: &str) -> Option<char> {
    let digits = digits.get(..4)?;
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten().and_then(char::from_u32)
}

fn escape(out: &mut String, text: &str, is_key: bool) {
    for (index, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '=' | ':' | '#' | '!' if is_key => out.extend(['\\', c]),
            ' ' if is_key || index == 0 => out.push_str("\\ "),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(text), expected, "{text:?}");
    }

    #[test]
    fn reads_what_java_reads() {
        check("", &[]);
        check("# c\n! c\n\n  \n", &[]);
        check(
            "a=1\r\nb: 2\nc 3\n  d  =  4\ne\n",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "")],
        );
        check("list=a;\\\n   b;\\\n   c\nx=1", &[("list", "a;b;c"), ("x", "1")]);
        check("path=C:\\\\dir\\tx\nk\\=y=z", &[("path", "C:\\dir\tx"), ("k=y", "z")]);
        check("u=\\u00e4\\u12", &[("u", "ä\\u12")]);
        check("a=x=y", &[("a", "x=y")]);
        check("listenPort=9876  \n", &[("listenPort", "9876")]);
        check("a=1\na=2", &[("a", "1"), ("a", "2")]);
        check("end=\\", &[("end", "")]);
    }

    #[test]
    fn writes_what_it_reads() {
        let pairs = [("a b", " x "), ("k=:#", "v=1:2"), ("p", "C:\\x\ny"), ("ü", "ä")];
        let mut text = String::new();
        for (key, value) in pairs {
            write_line(&mut text, key, value);
        }
        // Blanks at the end are the one thing that is not kept.
        check(&text, &[("a b", " x"), ("k=:#", "v=1:2"), ("p", "C:\\x\ny"), ("ü", "ä")]);
    }
}
