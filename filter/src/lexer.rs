//! Tokens of an expression, the longest that fits, one at a time: what stands behind a whole expression is never looked at.

use crate::FilterError;

/// A token. Keywords are found whatever their case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    End,
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// Digits, with or without an L.
    Decimal(&'a str),
    Float(&'a str),
    /// With its quotes.
    Text(&'a str),
    Name(&'a str),
    Symbol(&'static str),
}

const KEYWORDS: [(&str, Token<'static>); 12] = [
    ("NOT", Token::Not),
    ("AND", Token::And),
    ("OR", Token::Or),
    ("BETWEEN", Token::Between),
    ("IN", Token::In),
    ("TRUE", Token::True),
    ("FALSE", Token::False),
    ("NULL", Token::Null),
    ("IS", Token::Is),
    ("CONTAINS", Token::Contains),
    ("STARTSWITH", Token::StartsWith),
    ("ENDSWITH", Token::EndsWith),
];

/// Longer ones first.
const SYMBOLS: [&str; 11] = ["<>", ">=", "<=", "=", ">", "<", "(", ",", ")", "+", "-"];

/// A place in an expression.
#[derive(Clone, Copy)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token and where it begins.
    pub(crate) fn next(&mut self) -> Result<(Token<'a>, usize), FilterError> {
        self.skip();
        let at = self.at;
        let rest = self.text.get(at..).unwrap_or_default();
        let Some(first) = rest.bytes().next() else { return Ok((Token::End, at)) };
        let found = match first {
            b'\'' => text(rest).map(|length| (Token::Text(head(rest, length)), length)),
            b'0'..=b'9' | b'.' => number(rest),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => Some(word(rest)),
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                symbol.map(|symbol| (Token::Symbol(symbol), symbol.len()))
            }
        };
        match found {
            Some((token, length)) => {
                self.at += length;
                Ok((token, at))
            }
            None => Err(FilterError::Unexpected {
                found: format!("{:?}", rest.chars().next().unwrap_or_default()),
                at,
                expected: "the beginning of a word, number, text or operator",
            }),
        }
    }

    /// Steps over blanks and comments that are whole.
    fn skip(&mut self) {
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let length = match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => Some(1),
                [b'-', b'-', behind @ ..] => {
                    memchr::memchr2(b'\n', b'\r', behind).map(|end| 2 + end + 1)
                }
                [b'/', b'*', behind @ ..] => {
                    memchr::memmem::find(behind, b"*/").map(|end| 2 + end + 2)
                }
                _ => None,
            };
            match length {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }
}

/// The first bytes of a text, which end at a character's end.
fn head(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or_default()
}

/// Length of the text that begins here. A quote that is doubled is one within; without an end, the text ends at the last
/// quote that could be its end.
fn text(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut from, mut candidate) = (1, None);
    while let Some(found) = bytes.get(from..).and_then(|behind| memchr::memchr(b'\'', behind)) {
        let quote = from + found;
        candidate = Some(quote + 1);
        if bytes.get(quote + 1) != Some(&b'\'') {
            break;
        }
        from = quote + 2;
    }
    candidate
}

fn digits(bytes: &[u8], from: usize) -> usize {
    let behind = bytes.get(from..).unwrap_or_default();
    behind.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Length of `E`, a sign and digits.
fn exponent(bytes: &[u8], from: usize) -> usize {
    let Some([b'e' | b'E', behind @ ..]) = bytes.get(from..) else { return 0 };
    let sign = usize::from(matches!(behind, [b'+' | b'-', ..]));
    match digits(behind, sign) {
        0 => 0,
        count => 1 + sign + count,
    }
}

fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let bytes = rest.as_bytes();
    let whole = digits(bytes, 0);
    let float = if bytes.get(whole) == Some(&b'.') {
        let part = digits(bytes, whole + 1);
        let mantissa = whole + 1 + part;
        if whole + part > 0 { mantissa + exponent(bytes, mantissa) } else { 0 }
    } else {
        match exponent(bytes, whole) {
            0 => 0,
            length => whole + length,
        }
    };
    if float > 0 {
        return Some((Token::Float(head(rest, float)), float));
    }
    let decimal = match bytes {
        [b'0', ..] => 1,
        [b'1'..=b'9', ..] => whole + usize::from(matches!(bytes.get(whole), Some(b'l' | b'L'))),
        _ => return None,
    };
    Some((Token::Decimal(head(rest, decimal)), decimal))
}

fn word(rest: &str) -> (Token<'_>, usize) {
    let within = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let length = rest.as_bytes().iter().take_while(|byte| within(byte)).count();
    let word = head(rest, length);
    let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    (keyword.map_or(Token::Name(word), |(_, token)| *token), length)
}
