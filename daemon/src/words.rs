//! Sentences for people: numbers in them, and lines that fit a terminal.

/// A number of things: `1 shard`, `2 shards`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `text` in lines of at most `width` characters, each behind `indent` and ended by a line feed. A word that is longer has a
/// line of its own.
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length <= width {
            out.push(' ');
            used += 1 + length;
        } else {
            out.push_str(if used > 0 { "\n" } else { "" });
            out.push_str(indent);
            used = indent.chars().count() + length;
        }
        out.push_str(word);
    }
    out.push_str(if used > 0 { "\n" } else { "" });
    out
}

#[cfg(test)]
mod tests {
    use super::{counted, wrapped};

    #[test]
    fn lines_fit_and_lose_nothing() {
        assert_eq!(wrapped("", 10, "  "), "");
        assert_eq!(
            wrapped("a bc  def ghijklmnop q", 8, "  "),
            "  a bc\n  def\n  ghijklmnop\n  q\n"
        );
        assert_eq!(wrapped("ab cd", 5, ""), "ab cd\n");
    }

    #[test]
    fn one_is_one() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "shard")),
            ["0 shards", "1 shard", "2 shards"]
        );
    }
}
