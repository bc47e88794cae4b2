//! A scrape in the text format of Prometheus (0.0.4), written family by family into pieces of memory, so that who writes it may
//! do other things in between.
//!
//! What always holds: the lines of a family follow each other, no family has more label sets than are allowed, and
//! what was left out is counted.

use std::fmt::Write as _;

use crate::{Family, Histogram, Kind};

/// A piece of the text, bytes: a body of many megabytes is no single block of memory.
const PIECE_BYTES: usize = 64 * 1024;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count, or a position.
    Whole(i128),
    /// Anything else.
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Number {
        Number::Whole(number.into())
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Number {
        Number::Whole(number as i128)
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Number {
        Number::Whole(number.into())
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Number {
        Number::Whole(is.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Number {
        Number::Real(number)
    }
}

/// A scrape that is being written.
pub struct Page {
    pieces: Vec<Vec<u8>>,
    text: String,
    family: Option<Family>,
    /// Of that family.
    label_sets: usize,
    label_sets_max: usize,
    /// Label sets that were left out, by family.
    left_out: Vec<(&'static str, u64)>,
}

impl Page {
    /// A page whose families have so many label sets at most.
    pub fn new(label_sets_max: usize) -> Page {
        Page {
            pieces: Vec::new(),
            text: String::new(),
            family: None,
            label_sets: 0,
            label_sets_max,
            left_out: Vec::new(),
        }
    }

    /// Begins a family. Its numbers follow.
    pub fn family(&mut self, family: &Family) {
        self.family = Some(*family);
        self.label_sets = 0;
        let Family { name, kind, help, .. } = family;
        let _ = write!(self.text, "# HELP {name} ");
        for c in help.trim().chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
        let _ = writeln!(self.text, "\n# TYPE {name} {}", kind.word());
        self.cut_piece();
    }

    /// A number of the family that was begun last; `labels` are the values of its labels, in their order.
    pub fn value(&mut self, labels: &[&str], number: impl Into<Number>) {
        if let Some(family) = self.admit(labels) {
            assert!(family.kind != Kind::Histogram, "{} is a histogram", family.name);
            self.line(family, "", labels, None, number.into());
        }
    }

    /// A family that has one number.
    pub fn single(&mut self, family: &Family, number: impl Into<Number>) {
        self.family(family);
        self.value(&[], number);
    }

    /// A histogram of the family that was begun last.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let Some(family) = self.admit(labels) else { return };
        assert!(family.kind == Kind::Histogram, "{} is none", family.name);
        let (ends, count, sum) = histogram.read();
        let mut bound_text = String::new();
        for (bound, so_far) in ends {
            bound_text.clear();
            let _ = write!(bound_text, "{bound}");
            self.line(family, "_bucket", labels, Some(&bound_text), so_far.into());
        }
        self.line(family, "_bucket", labels, Some("+Inf"), count.into());
        self.line(family, "_sum", labels, None, sum.into());
        self.line(family, "_count", labels, None, count.into());
    }

    /// Counts label sets of the family that was begun last which the caller did not even look at.
    pub fn leave_out(&mut self, count: u64) {
        let Some(family) = self.family else { return };
        if count == 0 {
            return;
        }
        match self.left_out.last_mut() {
            Some((name, so_far)) if *name == family.name => *so_far += count,
            _ => self.left_out.push((family.name, count)),
        }
    }

    /// Families with label sets that were left out, and how many of each.
    pub fn left_out(&self) -> &[(&'static str, u64)] {
        &self.left_out
    }

    /// The text, in pieces.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.pieces.push(self.text.into_bytes());
        self.pieces
    }

    /// The family, if it may have one label set more.
    fn admit(&mut self, labels: &[&str]) -> Option<Family> {
        let family = self.family.expect("a family was begun");
        assert_eq!(labels.len(), family.labels.len(), "labels of {}", family.name);
        if self.label_sets == self.label_sets_max {
            self.leave_out(1);
            return None;
        }
        self.label_sets += 1;
        Some(family)
    }

    fn line(
        &mut self,
        family: Family,
        suffix: &str,
        labels: &[&str],
        bound: Option<&str>,
        number: Number,
    ) {
        let text = &mut self.text;
        text.push_str(family.name);
        text.push_str(suffix);
        let named = family.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in named.chain(bound.map(|bound| ("le", bound))) {
            text.push(separator);
            separator = ',';
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(text, value);
            text.push('"');
        }
        text.push_str(if separator == ',' { "} " } else { " " });
        match number {
            Number::Whole(number) => text.push_str(itoa::Buffer::new().format(number)),
            Number::Real(number) if number.is_nan() => text.push_str("NaN"),
            Number::Real(number) if number.is_infinite() => {
                text.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
            }
            Number::Real(number) => {
                let _ = write!(text, "{number}");
            }
        }
        text.push('\n');
        self.cut_piece();
    }

    fn cut_piece(&mut self) {
        if self.text.len() >= PIECE_BYTES {
            let more = String::with_capacity(PIECE_BYTES + 1_024);
            self.pieces.push(std::mem::replace(&mut self.text, more).into_bytes());
        }
    }
}

fn push_escaped(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;
    use std::time::Duration;

    families! {
        /// All of this test.
        const ALL;
        /// Doors that were opened\n.
        OPENED: Counter("doors_opened_total", "floor", "door");
        /// How long it took.
        TOOK: Histogram("took_seconds", "shard");
        /// How warm it is.
        WARMTH: Gauge("warmth_celsius");
    }

    fn text(page: Page) -> String {
        String::from_utf8(page.finish().concat()).expect("text")
    }

    #[test]
    fn a_page_is_what_the_format_says() {
        assert_eq!(ALL.len(), 3);
        let mut page = Page::new(10);
        page.family(&OPENED);
        page.value(&["1", "a\"b\\c\nd"], 7_u64);
        page.value(&["2", ""], u64::MAX);
        page.single(&WARMTH, -0.5);
        let expected = "# HELP doors_opened_total Doors that were opened\\\\n.\n\
                        # TYPE doors_opened_total counter\n\
                        doors_opened_total{floor=\"1\",door=\"a\\\"b\\\\c\\nd\"} 7\n\
                        doors_opened_total{floor=\"2\",door=\"\"} 18446744073709551615\n\
                        # HELP warmth_celsius How warm it is.\n\
                        # TYPE warmth_celsius gauge\n\
                        warmth_celsius -0.5\n";
        assert_eq!(text(page), expected);
    }

    #[test]
    fn a_histogram_ends_with_all_of_it() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_micros(40), 3);
        let mut page = Page::new(10);
        page.family(&TOOK);
        page.histogram(&["0"], &histogram);
        let text = text(page);
        for line in [
            "took_seconds_bucket{shard=\"0\",le=\"0.000032\"} 0\n",
            "took_seconds_bucket{shard=\"0\",le=\"0.000048\"} 3\n",
            "took_seconds_bucket{shard=\"0\",le=\"16.777216\"} 3\n",
            "took_seconds_bucket{shard=\"0\",le=\"+Inf\"} 3\n",
            "took_seconds_sum{shard=\"0\"} 0.00012\n",
            "took_seconds_count{shard=\"0\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let mut page = Page::new(2);
        page.family(&OPENED);
        for door in 0..5_u64 {
            page.value(&["1", &door.to_string()], door);
        }
        page.leave_out(4);
        page.single(&WARMTH, 1_u64);
        assert_eq!(page.left_out(), [("doors_opened_total", 7)]);
        assert_eq!(text(page).lines().filter(|line| line.starts_with("doors")).count(), 2);
    }

    #[test]
    fn a_large_page_is_in_pieces() {
        let mut page = Page::new(100_000);
        page.family(&OPENED);
        for door in 0..10_000_u64 {
            page.value(&["1", &door.to_string()], door);
        }
        let pieces = page.finish();
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 1_024));
        assert_eq!(pieces.concat().iter().filter(|byte| **byte == b'\n').count(), 10_002);
    }
}
