//! The benchmark's programs: producer, batch producer, transaction producer, consumer, with the options and lines of Java's.
//!
//! Every second the counters are copied; what is printed is the difference between copies nine seconds apart, as Java's programs
//! do it. An option of Java's that would do something else here is refused, not accepted.

mod batch;
mod consumer;
mod counts;
mod options;
mod producer;
mod transaction;

pub use options::with_long_names;

use super::ProgramError;

/// Which of the programs.
#[derive(Debug, clap::Args)]
pub struct BenchmarkArgs {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// Sends single messages (benchmark/producer.sh).
    Producer(producer::ProducerArgs),
    /// Sends batches (benchmark/batchproducer.sh).
    Batchproducer(batch::BatchArgs),
    /// Sends half messages and decides on them (benchmark/tproducer.sh).
    Tproducer(transaction::TransactionArgs),
    /// Consumes and measures delays (benchmark/consumer.sh).
    Consumer(consumer::ConsumerArgs),
}

/// Runs it to its end.
pub fn run(args: &BenchmarkArgs) -> Result<(), ProgramError> {
    match &args.program {
        Program::Producer(args) => producer::run(args),
        Program::Batchproducer(args) => batch::run(args),
        Program::Tproducer(args) => transaction::run(args),
        Program::Consumer(args) => consumer::run(args),
    }
}
