//! The words of a command line as Java's mqadmin reads them, made fit for clap.
//!
//! Java's parser (commons-cli, `PosixParser`) differs from clap's: a long option may have one dash (`-clusterName c`), what
//! follows an option is its value even with a dash before it, unless it is an option of this command itself, values lose
//! quotes and blanks at their ends, of a repeated option the first counts, and words that belong to no option are left
//! alone. Here each word is read by these rules and written as `--long=value`; what is no option of the command stays as it
//! is, so that clap refuses it.

use clap::{Arg, ArgAction, Command};

/// What the words became.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// For clap.
    pub(crate) options: Vec<String>,
    /// What Java reads and leaves alone; worth a warning.
    pub(crate) ignored: Vec<String>,
}

/// Reads the words behind the name of a command.
pub(crate) fn read(command: &Command, words: &[String]) -> Words {
    let places = command.get_positionals().count();
    let mut read =
        Reader { command, words: words.iter().peekable(), places, out: Words::default() };
    while let Some(word) = read.words.next() {
        read.word(word);
    }
    read.out
}

struct Reader<'a> {
    command: &'a Command,
    words: std::iter::Peekable<std::slice::Iter<'a, String>>,
    /// Words without an option that the command takes yet. Those of Java take none.
    places: usize,
    out: Words,
}

impl<'a> Reader<'a> {
    fn word(&mut self, word: &str) {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            match self.find(name) {
                Some(option) => self.option(option, value),
                None => self.out.options.push(word.to_owned()),
            }
        } else if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
            match self.find(name) {
                Some(option) => self.option(option, None),
                None => self.letters(name),
            }
        } else if self.places > 0 {
            self.places -= 1;
            self.out.options.push(word.to_owned());
        } else {
            self.out.ignored.push(word.to_owned());
        }
    }

    /// Several letters behind one dash: flags, and at last an option whose value is the rest.
    fn letters(&mut self, letters: &str) {
        for (at, letter) in letters.char_indices() {
            let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            let Some(option) = self.find(letter.encode_utf8(&mut [0; 4])) else {
                self.out.options.push(format!("-{}", letters.get(at..).unwrap_or_default()));
                return;
            };
            if takes_value(option) && !rest.is_empty() {
                self.option(option, Some(rest));
                return;
            }
            self.option(option, None);
        }
    }

    fn option(&mut self, option: &'a Arg, value: Option<&str>) {
        let name = option.get_id().as_str();
        let long = option.get_long().unwrap_or(name);
        let start = format!("--{long}");
        let again = self.out.options.iter().any(|other| {
            other.strip_prefix(&start).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        });
        let written = if !takes_value(option) {
            start
        } else if let Some(value) = value.or_else(|| self.next_value()) {
            let value = value.strip_prefix('"').unwrap_or(value);
            let value = value.strip_suffix('"').unwrap_or(value);
            format!("{start}={}", value.trim())
        } else {
            // Without its value: clap says so.
            start
        };
        if again {
            self.out.ignored.push(written);
        } else {
            self.out.options.push(written);
        }
    }

    /// The next word, if it is no option of this command.
    fn next_value(&mut self) -> Option<&'a str> {
        let next = self.words.peek()?;
        let name = next.strip_prefix("--").or_else(|| next.strip_prefix('-'));
        if name.is_some_and(|name| self.find(name).is_some()) {
            return None;
        }
        self.words.next().map(String::as_str)
    }

    /// The option with this letter or long name.
    fn find(&self, name: &str) -> Option<&'a Arg> {
        let is_letter = |arg: &Arg| {
            arg.get_short().is_some_and(|short| name.strip_prefix(short).is_some_and(str::is_empty))
        };
        let is_long = |arg: &Arg| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        self.command.get_arguments().find(|arg| is_letter(arg) || is_long(arg))
    }
}

fn takes_value(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let value = |short: char, long: &'static str| Arg::new(long).short(short).long(long);
        Command::new("x")
            .arg(value('n', "namesrvAddr"))
            .arg(value('c', "clusterName"))
            .arg(value('o', "offset"))
            .arg(value('m', "mode").alias("mf"))
            .arg(value('l', "list").action(ArgAction::SetTrue))
            .arg(value('a', "all").action(ArgAction::SetTrue))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue))
    }

    fn words(line: &str) -> (Vec<String>, Vec<String>) {
        let split: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        let read = read(&command(), &split);
        (read.options, read.ignored)
    }

    #[test]
    fn a_command_of_ours_may_take_a_word_of_its_own() {
        let command = command().arg(Arg::new("topic"));
        let read = read(&command, &["-l", "orders", "stray"].map(str::to_owned));
        assert_eq!(read.options, ["--list", "orders"]);
        assert_eq!(read.ignored, ["stray"]);
    }

    #[test]
    fn words_are_read_as_java_reads_them() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("-n a:1 -c x", &["--namesrvAddr=a:1", "--clusterName=x"], &[]),
            ("-na:1 --clusterName x", &["--namesrvAddr=a:1", "--clusterName=x"], &[]),
            ("-clusterName x --namesrvAddr=a:1", &["--clusterName=x", "--namesrvAddr=a:1"], &[]),
            ("-mf x", &["--mode=x"], &[]),
            ("-la -o -1", &["--list", "--all", "--offset=-1"], &[]),
            // The value is missing, because an option follows.
            ("-o -l", &["--offset", "--list"], &[]),
            ("-o --json", &["--offset", "--json"], &[]),
            // A flag takes no value: Java leaves the word alone.
            ("-l Default -c x", &["--list", "--clusterName=x"], &["Default"]),
            ("-c x -c y", &["--clusterName=x"], &["--clusterName=y"]),
            ("-c \"x\" -n __a__", &["--clusterName=x", "--namesrvAddr=a"], &[]),
            ("-z --zone=1 -lz", &["-z", "--zone=1", "--list", "-z"], &[]),
        ];
        for (line, options, ignored) in cases {
            let (found, left) = words(line);
            assert_eq!(found, *options, "{line}");
            assert_eq!(left, *ignored, "{line}");
        }
    }
}
