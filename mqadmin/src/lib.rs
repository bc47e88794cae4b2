//! The commands of `mqadmin`: Java's names, options and tables, `--json` besides, and exit codes that tell.
//!
//! # How to add a command
//!
//! 1. Look up options and output in Java's class (4.9.8 decides how a table looks; options that only 5.3.3 has are added).
//! 2. What it asks becomes a method of [`client::DefaultMqAdminExt`] with Java's name, in the file of its family below
//!    `client/src/admin_ext`; bodies are types of `proto::body`.
//! 3. In the file of its family below `commands/`: a struct with `#[derive(clap::Args)]`, where each option has Java's letter
//!    and Java's long name (`long = "clusterName"`), and `impl Command` for it. How Java's parser reads them is taken care
//!    of (`posix`); brokers named by `-b` or `-c` are `target::Target`.
//! 4. What it says is a struct with `Serialize` for `--json` and `Display` for Java's text, given to [`Output::show`], as
//!    often as there is something to say; for a single line `Output::say` takes text and JSON. Java's formats are in `text`: `%-20s` is `{:<20}`.
//! 5. What fails is a [`Failure`]: returned when it ends the command, or given to [`Output::problem`] when the others go on.
//! 6. One line in [`registry::COMMANDS`]. Remove its name from `NOT_YET` in `tests/names.rs`, and add cases to
//!    `loadtest/tests/clients/mqadmin_compared.rs`, which runs Java's tool and ours beside each other.

mod address_server;
mod cli;
mod commands;
mod failure;
mod fastjson_pretty;
mod moment;
mod output;
mod posix;
mod registry;
mod settings;
mod target;
mod text;

pub use cli::run;
pub use failure::Failure;
pub use output::Output;
pub use registry::{COMMANDS, Entry};

use client::DefaultMqAdminExt;

/// A command with its options.
#[allow(async_fn_in_trait, reason = "commands run on one thread")]
pub(crate) trait Command: clap::Args {
    /// Asks and says.
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure>;
}
