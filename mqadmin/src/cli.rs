//! From the words of the command line to a command that runs, and to the exit code: 0 done, 1 refused or failed, 2 not
//! understood.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::{Args as _, FromArgMatches as _};
use clap_complete::Shell;
use client::DefaultMqAdminExt;

use crate::output::line;
use crate::registry::{self, COMMANDS, Entry, Kind};
use crate::settings::{Settings, as_property};
use crate::{Failure, Output, posix};

const FAILED: u8 = 1;
const NOT_UNDERSTOOD: u8 = 2;

/// Runs the command that the words of the command line name, without that of the program.
pub fn run(mut words: Vec<String>) -> ExitCode {
    let mut properties = Vec::new();
    let mut before = Vec::new();
    // What stands before the command: properties of Java's, and `--json`.
    while let Some(word) = words.first() {
        if let Some(property) = as_property(word) {
            properties.push(property);
        } else if word == "--json" {
            before.push(word.clone());
        } else {
            break;
        }
        words.remove(0);
    }
    let Some(name) = words.first().cloned() else { return print(&overview()) };
    let rest = words.split_off(1);
    match (name.as_str(), rest.first()) {
        ("help" | "-h" | "--help", None) => print(&overview()),
        ("help", Some(name)) => help(name),
        ("-V" | "--version", _) => print(&format!("mqadmin {}\n", env!("CARGO_PKG_VERSION"))),
        ("completions", shell) => completions(shell),
        _ => match registry::find(&name) {
            None => not_understood(&unknown(&name)),
            Some(entry) => run_entry(entry, &[before, rest].concat(), &properties),
        },
    }
}

fn run_entry(entry: &'static Entry, words: &[String], properties: &[(String, String)]) -> ExitCode {
    let Kind::Served(served) = &entry.kind else { return not_understood(&absent(entry)) };
    let command = command_of(entry);
    let read = posix::read(&command, words);
    let all = [vec![entry.name.to_owned()], read.options].concat();
    let parsed = command.try_get_matches_from(all).and_then(|matches| {
        let settings = Settings::from_arg_matches(&matches)?;
        Ok((matches, settings))
    });
    let (matches, settings) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { NOT_UNDERSTOOD } else { 0 });
        }
    };
    let mut out = Output::new(entry.name, settings.json);
    if !read.ignored.is_empty() {
        out.note(&format!("ignored, as Java's does: {}", read.ignored.join(" ")));
    }
    let outcome = settings.admin(properties).and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let admin = DefaultMqAdminExt::new(config);
        runtime.block_on((served.run)(&matches, &admin, &mut out))
    });
    match outcome {
        Ok(()) if out.problems() == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(FAILED),
        // Whoever read this has seen enough.
        Err(Failure::Print(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", line(entry.name, &failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A command with its options, as clap has it.
fn command_of(entry: &'static Entry) -> clap::Command {
    let command = clap::Command::new(entry.name)
        .bin_name(format!("mqadmin {}", entry.name))
        .disable_version_flag(true);
    match &entry.kind {
        Kind::Absent(reason) => command.about(entry.about).after_help(*reason),
        Kind::Served(served) => {
            let examples = served.examples.iter();
            let examples = examples.map(|words| format!("  mqadmin {} {words}\n", entry.name));
            let examples = format!("Examples:\n{}", examples.collect::<String>());
            let command = Settings::augment_args((served.augment)(command));
            // What the structs of options say of themselves is for readers of the code.
            command.about(entry.about).after_help(examples.trim_end().to_owned())
        }
    }
}

fn help(name: &str) -> ExitCode {
    match registry::find(name) {
        None => not_understood(&unknown(name)),
        Some(entry) if matches!(entry.kind, Kind::Absent(_)) => {
            print(&format!("{}\n", absent(entry)))
        }
        Some(entry) => print(&command_of(entry).render_help().to_string()),
    }
}

/// All commands with a line each, as Java lists them.
fn overview() -> String {
    let served = COMMANDS.iter().filter(|entry| matches!(entry.kind, Kind::Served(_)));
    let rows: String = served.map(|e| format!("   {:<20} {}\n", e.name, e.about)).collect();
    format!(
        "The most commonly used mqadmin commands are:\n{rows}\nSee 'mqadmin help <command>' for more information on a specific \
         command.\n"
    )
}

fn completions(shell: Option<&String>) -> ExitCode {
    let shell: Option<Shell> = shell.and_then(|shell| shell.parse().ok());
    let Some(shell) = shell else {
        return not_understood("completions: one of bash, elvish, fish, powershell, zsh");
    };
    let mut program = clap::Command::new("mqadmin");
    for entry in COMMANDS.iter().filter(|entry| matches!(entry.kind, Kind::Served(_))) {
        program = program.subcommand(command_of(entry));
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "mqadmin", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

fn not_understood(text: &str) -> ExitCode {
    eprintln!("mqadmin: {text}");
    ExitCode::from(NOT_UNDERSTOOD)
}

fn unknown(name: &str) -> String {
    format!("The sub command {name} not exist. 'mqadmin help' lists all.")
}

fn absent(entry: &Entry) -> String {
    let Kind::Absent(reason) = &entry.kind else { return String::new() };
    format!("{} does not exist here: {reason}", entry.name)
}
