//! Reads just enough of an answer: `code` and `opaque`, for pulls the next offset and the message count, single ext fields.
//!
//! JSON only, because the loader sends JSON and an answer comes in the kind of its request. `opaque` is looked for
//! where the previous answer had it, counted from the header's end, and searched for only when it moved.

use memchr::memmem;

/// Cheap reader of answers, one per connection.
#[derive(Default)]
pub struct AnswerScanner {
    opaque_from_end: usize,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Mark {
    /// RocketMQ's response code, 0 = success.
    pub code: i32,
    /// Which request it answers.
    pub opaque: u32,
}

/// Header and body of a frame whose length word was already taken off.
pub fn parts(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = frame.split_first_chunk::<4>()?;
    let word = u32::from_be_bytes(*word);
    // Type 0 in the top byte: JSON.
    if word >> 24 != 0 {
        return None;
    }
    rest.split_at_checked(word as usize)
}

impl AnswerScanner {
    /// Code and opaque of a JSON header; None if it has no readable ones.
    pub fn scan(&mut self, header: &[u8]) -> Option<Mark> {
        let code =
            if header.starts_with(b"{\"code\":0,") { 0 } else { number(header, b"\"code\":")? };
        Some(Mark { code: i32::try_from(code).ok()?, opaque: self.opaque(header)? })
    }

    fn opaque(&mut self, header: &[u8]) -> Option<u32> {
        const KEY: &[u8] = b"\"opaque\":";
        let hinted = header.len().saturating_sub(self.opaque_from_end);
        let tail = &header[hinted..];
        if tail.starts_with(KEY) {
            return u32::try_from(leading_number(&tail[KEY.len()..])?).ok();
        }
        let at = memmem::find(header, KEY)?;
        self.opaque_from_end = header.len() - at;
        u32::try_from(leading_number(&header[at + KEY.len()..])?).ok()
    }
}

/// The value of an ext field that holds an integer, quoted or bare.
pub fn ext_number(header: &[u8], name: &str) -> Option<i64> {
    let key = format!("\"{name}\":");
    number(header, key.as_bytes())
}

/// The value of an ext field that holds text, as it stands in the header, without unescaping.
pub fn ext_text<'a>(header: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(text(header, name)?).ok()
}

/// The remark of an answer as it stands in the header, without unescaping; for people to read.
pub fn remark(header: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(text(header, "remark")?).into_owned())
}

/// Messages in a pull body, by walking their size words; None if a size does not fit.
pub fn count_messages(mut body: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !body.is_empty() {
        let size = u32::from_be_bytes(*body.first_chunk::<4>()?) as usize;
        if size < 4 {
            return None;
        }
        body = body.get(size..)?;
        count += 1;
    }
    Some(count)
}

fn text<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let key = format!("\"{name}\":\"");
    let at = memmem::find(header, key.as_bytes())? + key.len();
    let rest = header.get(at..)?;
    let end = (0..rest.len()).find(|&i| rest[i] == b'"' && (i == 0 || rest[i - 1] != b'\\'))?;
    Some(&rest[..end])
}

fn number(header: &[u8], key: &[u8]) -> Option<i64> {
    let at = memmem::find(header, key)? + key.len();
    let value = header.get(at..)?;
    leading_number(value.strip_prefix(b"\"").unwrap_or(value))
}

fn leading_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut value: i64 = 0;
    let mut seen = false;
    for digit in digits.iter().take_while(|b| b.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        seen = true;
    }
    seen.then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_opaque_are_found_wherever_they_stand() {
        let mut scanner = AnswerScanner::default();
        for (header, code, opaque) in [
            (
                r#"{"code":0,"extFields":{"msgId":"7F"},"flag":1,"opaque":100000007,"version":407}"#,
                0,
                100_000_007,
            ),
            (
                r#"{"code":0,"extFields":{"msgId":"7FAA"},"flag":1,"opaque":100000008,"version":407}"#,
                0,
                100_000_008,
            ),
            (
                r#"{"code":2,"flag":1,"opaque":9,"remark":"a text longer than all others in this table, so that the hint misses"}"#,
                2,
                9,
            ),
            (r#"{"opaque":12,"code":14}"#, 14, 12),
        ] {
            assert_eq!(scanner.scan(header.as_bytes()), Some(Mark { code, opaque }), "{header}");
        }
        assert_eq!(scanner.scan(br#"{"code":1}"#), None);
        assert_eq!(scanner.scan(b""), None);
    }

    #[test]
    fn ext_numbers_and_remarks() {
        let header = br#"{"code":19,"extFields":{"nextBeginOffset":"42","minOffset":-1},"remark":"a \"b\" c","opaque":1}"#;
        assert_eq!(ext_number(header, "nextBeginOffset"), Some(42));
        assert_eq!(ext_number(header, "minOffset"), Some(-1));
        assert_eq!(ext_number(header, "maxOffset"), None);
        assert_eq!(remark(header).as_deref(), Some(r#"a \"b\" c"#));
    }

    #[test]
    fn ext_texts_end_at_their_quote() {
        let header = br#"{"code":0,"extFields":{"msgOffsetInfo":"0 1 5,6;0 2 9","empty":"","popTime":"17","said":"a \"b\"","torn":"a"#;
        assert_eq!(ext_text(header, "msgOffsetInfo"), Some("0 1 5,6;0 2 9"));
        assert_eq!(ext_text(header, "empty"), Some(""));
        assert_eq!(ext_text(header, "popTime"), Some("17"));
        assert_eq!(ext_text(header, "said"), Some(r#"a \"b\""#));
        assert_eq!(ext_text(header, "torn"), None);
        assert_eq!(ext_text(header, "startOffsetInfo"), None);
    }

    #[test]
    fn messages_are_counted_by_their_size_words() {
        let mut body = Vec::new();
        for size in [8u32, 4, 100] {
            body.extend_from_slice(&size.to_be_bytes());
            body.resize(body.len() + size as usize - 4, 0);
        }
        assert_eq!(count_messages(&body), Some(3));
        assert_eq!(count_messages(&body[..50]), None);
        assert_eq!(count_messages(&[0; 4]), None, "a size of zero would loop for ever");
    }
}
