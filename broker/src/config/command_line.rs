//! The command line of `mqbroker`, with Java's letters.

use daemon::key_list::KeysArgument;
use std::path::PathBuf;

/// Apache RocketMQ compatible message broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Parser)]
#[command(name = "mqbroker", version, about, long_about = None)]
pub struct CommandLine {
    /// Configuration file, as Java's broker.conf
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Name servers, host:port separated by ';'; goes before namesrvAddr of the file.
    #[arg(
        short = 'n',
        long = "namesrvAddr",
        value_name = "ADDRS",
        help = "Name servers, host:port separated by ';';\ngoes before namesrvAddr of the file"
    )]
    pub namesrv_addr: Option<String>,
    /// Print all configuration items and exit
    #[arg(short = 'p', long = "printConfigItem")]
    pub print_all: bool,
    /// Print the important configuration items and exit
    #[arg(short = 'm', long = "printImportantConfig")]
    pub print_important: bool,
    /// Run a name server inside this process; also when neither -c nor a name server is given.
    #[arg(
        long,
        help = "Run a name server inside this process; also\nwhen neither -c nor a name server is given"
    )]
    pub standalone: bool,
    /// Say all that a start would refuse or warn about, and exit with its code; nothing is made or changed.
    #[arg(
        long,
        conflicts_with_all = ["print_all", "print_important"],
        help = "Say all that a start would refuse or warn about,\nand exit with its code; nothing is changed"
    )]
    pub check: bool,
    /// Whether and how to list all keys.
    #[command(flatten)]
    pub keys: KeysArgument,
    /// Keys of the configuration; they go before the file. Java's broker ignores what stands here.
    #[arg(
        value_name = "KEY=VALUE",
        value_parser = setting,
        help = "Keys of the configuration, such as\nautoCreateTopicEnable=true; they go before the file"
    )]
    pub settings: Vec<(String, String)>,
}

/// `KEY=VALUE`.
fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or("only KEY=VALUE may stand beside the options")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// What to print instead of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    /// `-p`: every key.
    All,
    /// `-m`: the important ones.
    Important,
}

impl CommandLine {
    /// What to print instead of starting, if anything. `-p` includes what `-m` prints.
    pub fn print(&self) -> Option<Print> {
        match (self.print_all, self.print_important) {
            (true, _) => Some(Print::All),
            (false, true) => Some(Print::Important),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use daemon::key_list::KeysForm;

    #[test]
    fn help_fits_a_terminal() {
        let help = CommandLine::command().render_help().to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn javas_letters_are_understood() {
        CommandLine::command().debug_assert();
        let line = CommandLine::parse_from(["mqbroker", "-c", "b.conf", "-n", "a:1;b:2", "-m"]);
        assert_eq!(line.config_file, Some(PathBuf::from("b.conf")));
        assert_eq!(line.namesrv_addr.as_deref(), Some("a:1;b:2"));
        assert_eq!(line.print(), Some(Print::Important));
        assert!(!line.standalone);
        assert!(CommandLine::parse_from(["mqbroker", "--standalone"]).standalone);
        assert!(CommandLine::parse_from(["mqbroker", "--check", "-c", "b.conf"]).check);
        let keys = |word| CommandLine::parse_from(["mqbroker", word]).keys.form;
        assert_eq!(keys("--keys"), Some(KeysForm::Text));
        assert_eq!(keys("--keys=json"), Some(KeysForm::Json));
        assert!(CommandLine::try_parse_from(["mqbroker", "--check", "-p"]).is_err());
    }

    #[test]
    fn keys_may_stand_behind_options() {
        let line = ["mqbroker", "-n", "a:1", "autoCreateTopicEnable=true", "logDir=", "-c", "f"];
        let line = CommandLine::parse_from(line);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(line.settings, [pair("autoCreateTopicEnable", "true"), pair("logDir", "")]);
        assert_eq!(line.config_file, Some(PathBuf::from("f")));
        for bad in ["start", "=true", " = "] {
            let refused = CommandLine::try_parse_from(["mqbroker", bad]).unwrap_err().to_string();
            assert!(refused.contains("only KEY=VALUE may stand beside the options"), "{refused}");
        }
    }
}
