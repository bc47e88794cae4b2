//! `mqadmin`: administration of RocketMQ clusters, ours and Java's, with the commands of Java's tool of that name.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqadmin::run(std::env::args().skip(1).collect())
}
