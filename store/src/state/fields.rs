//! Fields one behind the other, as contents of control entries have them: how names and numbers are written and read.

/// What is left to be read of a content. An error says what is wrong with it.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, as many as a number has.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("is cut")?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("is cut")?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A name.
    pub(super) fn text(&mut self) -> Result<&'a str, &'static str> {
        let count = usize::from(u16::from_be_bytes(self.take()?));
        std::str::from_utf8(self.bytes(count)?).map_err(|_| "has a name that is not text")
    }
}

/// Adds names, as [`Fields::text`] reads them: none is longer than a topic's may be.
pub(super) fn write_texts(out: &mut Vec<u8>, texts: [&str; 2]) {
    for text in texts {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}
