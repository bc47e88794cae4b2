//! Differences that tests expect: each one found must be listed with its reason, and each one listed must be found, so that a
//! list never says more than what is so.

/// A difference that stays.
pub struct Listed {
    /// The beginning of its line, such as `send/code: ours 13`; `*` stands for anything.
    pub line: String,
    /// Why it stays.
    pub why: String,
}

/// Whether the differences are those that are listed: each line begins as a listed one, and each listed one is there. The error
/// is everything that is not so.
pub fn judge<'a>(
    lines: &[String],
    listed: impl Iterator<Item = &'a Listed> + Clone,
) -> Result<(), String> {
    let is_listed = |line: &&String| listed.clone().any(|known| begins_as(line, &known.line));
    let mut wrong: Vec<String> = lines
        .iter()
        .filter(|line| !is_listed(line))
        .map(|line| format!("not listed: {line}"))
        .collect();
    let is_there = |known: &&Listed| lines.iter().any(|line| begins_as(line, &known.line));
    let gone = listed.clone().filter(|known| !is_there(known));
    wrong.extend(gone.map(|known| format!("listed and gone: {} ({})", known.line, known.why)));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Whether a line begins as a listed one, in which `*` stands for anything.
pub fn begins_as(line: &str, listed: &str) -> bool {
    let mut pieces = listed.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(line: &str) -> Listed {
        Listed { line: line.to_owned(), why: "it is so".to_owned() }
    }

    #[test]
    fn what_is_found_and_what_is_listed_are_the_same() {
        let found = ["a/code: ours 1, Java's 2".to_owned(), "b: ours 3".to_owned()];
        let both = [listed("a/*: ours 1"), listed("b")];
        assert_eq!(judge(&found, both.iter()), Ok(()));
        let one = [listed("b")];
        assert_eq!(judge(&found, one.iter()), Err(format!("not listed: {}", found[0])));
        let more = [listed("a"), listed("b"), listed("c")];
        let gone = judge(&found, more.iter());
        assert_eq!(gone, Err("listed and gone: c (it is so)".to_owned()));
    }
}
