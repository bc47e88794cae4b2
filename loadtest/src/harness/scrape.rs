//! A client of the port for operators: asks over HTTP, and reads a scrape as strictly as the format allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer over HTTP.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// GET of a path on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> io::Result<HttpAnswer> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let answer = read_answer(&mut reader, true)?;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest)?;
    match rest.len() {
        0 => Ok(answer),
        more => Err(bad(format!("{more} bytes behind the answer"))),
    }
}

/// The next answer on a connection. `has_body`: not one to HEAD.
pub fn read_answer(reader: &mut impl BufRead, has_body: bool) -> io::Result<HttpAnswer> {
    let status_line = read_line(reader)?;
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| bad(format!("no status line: {status_line:?}")))?;
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(": ").ok_or_else(|| bad(format!("no header: {line}")))?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let bytes = headers.get("content-length").and_then(|text| text.parse().ok());
    let bytes: usize = bytes.ok_or_else(|| bad(format!("no Content-Length: {headers:?}")))?;
    let mut body = vec![0; if has_body { bytes } else { 0 }];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(|error| bad(error.to_string()))?;
    Ok(HttpAnswer { status, headers, body })
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(bad(format!("no line of HTTP: {line:?}"))),
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Labels of a number.
pub type Labels = BTreeMap<String, String>;

/// A scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Kind of each family.
    pub families: BTreeMap<String, String>,
    /// Numbers by name and labels.
    pub numbers: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    /// Asks for one; panics where it is not what the format says.
    pub fn of(addr: SocketAddr) -> Scrape {
        let answer = get(addr, "/metrics").unwrap_or_else(|error| panic!("{addr}: {error}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let media = answer.headers.get("content-type").map(String::as_str);
        assert_eq!(media, Some("text/plain; version=0.0.4; charset=utf-8"));
        Scrape::parse(&answer.body).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Reads one. The error is the first line that is not as it should be.
    pub fn parse(text: &str) -> Result<Scrape, String> {
        let mut scrape = Scrape::default();
        let mut family = String::new();
        if !text.ends_with('\n') {
            return Err("no line break at the end".to_owned());
        }
        for line in text.lines() {
            let problem = |what: &str| format!("{what}: {line}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap_or_default().to_owned();
                if scrape.families.contains_key(&family) {
                    return Err(problem("a family in two places"));
                }
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let kind = kind.strip_prefix(&format!("{family} "));
                let kind = kind.ok_or_else(|| problem("no HELP before"))?;
                if !["counter", "gauge", "histogram"].contains(&kind) {
                    return Err(problem("no kind"));
                }
                scrape.families.insert(family.clone(), kind.to_owned());
            } else {
                let (name, labels, number) = sample(line).ok_or_else(|| problem("no sample"))?;
                let kind = scrape.families.get(&family).ok_or_else(|| problem("no family"))?;
                let is_its = match name.strip_prefix(family.as_str()) {
                    Some("") => kind != "histogram",
                    Some("_bucket" | "_sum" | "_count") => kind == "histogram",
                    _ => false,
                };
                if !is_its {
                    return Err(problem(&format!("not of the {kind} {family}")));
                }
                if kind == "counter" && number < 0.0 {
                    return Err(problem("a counter below 0"));
                }
                if scrape.numbers.insert((name, labels), number).is_some() {
                    return Err(problem("twice"));
                }
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    /// Buckets grow, and the last one is all of them.
    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<(&str, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), number) in &self.numbers {
            let family = name.strip_suffix("_bucket").unwrap_or_default();
            if self.families.get(family).is_none_or(|kind| kind != "histogram") {
                continue;
            }
            let mut others = labels.clone();
            let bound = others.remove("le").ok_or_else(|| format!("{name} without le"))?;
            let bound = bound.parse().map_err(|_| format!("{name} up to {bound}"))?;
            buckets.entry((family, others)).or_default().push((bound, *number));
        }
        for ((family, labels), mut ends) in buckets {
            ends.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
            let grows = ends.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            let number = |suffix| self.numbers.get(&(format!("{family}{suffix}"), labels.clone()));
            let (count, sum) = (number("_count"), number("_sum"));
            let last = ends.last().copied().unwrap_or_default();
            let ends_well = last.0 == f64::INFINITY && count == Some(&last.1);
            let has_sum = sum.is_some_and(|sum| sum.is_finite() && *sum >= 0.0);
            if !grows || !ends_well || !has_sum {
                return Err(format!("{family} {labels:?}: {ends:?}, count {count:?}, sum {sum:?}"));
            }
        }
        Ok(())
    }

    /// One number.
    pub fn number(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.numbers.get(&(name.to_owned(), labels.iter().map(owned).collect())).copied()
    }

    /// All numbers of a name together.
    pub fn sum(&self, name: &str) -> f64 {
        self.of_name(name).map(|(_, number)| number).sum()
    }

    /// How many label sets a name has.
    pub fn count(&self, name: &str) -> usize {
        self.of_name(name).count()
    }

    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> {
        let of = self.numbers.iter().filter(move |((of, _), _)| of == name);
        of.map(|((_, labels), number)| (labels, *number))
    }

    /// Names that a query may use.
    pub fn names(&self) -> BTreeSet<String> {
        let of = |(family, kind): (&String, &String)| match kind.as_str() {
            "histogram" => {
                ["_bucket", "_sum", "_count"].map(|end| format!("{family}{end}")).to_vec()
            }
            _ => vec![family.clone()],
        };
        self.families.iter().flat_map(of).collect()
    }
}

/// `name{label="value",...} number`.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c| !is_name(c)).filter(|end| *end > 0)?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            if label.is_empty() || !label.chars().all(is_name) {
                return None;
            }
            let (value, behind) = quoted(behind)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match behind.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = behind.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').filter(|number| !number.contains(' '))?;
    Some((name.to_owned(), labels, number.parse().ok()?))
}

/// A value up to its closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total What.\n# TYPE a_total counter\n";

    #[test]
    fn a_scrape_is_read() {
        let text = format!("{HEAD}a_total{{x=\"1\",y=\"q\\\"\\\\\\n\"}} 3\na_total 4.5\n");
        let scrape = Scrape::parse(&text).unwrap();
        assert_eq!(scrape.number("a_total", &[("x", "1"), ("y", "q\"\\\n")]), Some(3.0));
        assert_eq!((scrape.sum("a_total"), scrape.count("a_total")), (7.5, 2));
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        for bad in [
            "a_total 3",
            "a_total{x=\"1} 3\n",
            "a_total{x=1} 3\n",
            "a_total three\n",
            "a_total 3 4 5\n",
            "b_total 3\n",
            "a_total -1\n",
            "a_total 1\na_total 1\n",
            "a_total_bucket{le=\"1\"} 1\n",
            "# HELP a_total Again.\n",
        ] {
            assert!(Scrape::parse(&format!("{HEAD}{bad}")).is_err(), "{bad}");
        }
        let head = "# HELP h What.\n# TYPE h histogram\n";
        let good = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
        assert!(Scrape::parse(&format!("{head}{good}")).is_ok());
        for (from, to) in [("h_count 2", "h_count 3"), ("\"1\"} 1", "\"1\"} 3"), ("h_sum 3\n", "")]
        {
            assert!(Scrape::parse(&format!("{head}{}", good.replace(from, to))).is_err(), "{to}");
        }
    }
}
