//! The quickstart: a producer that sends a thousand messages and a consumer that shows what comes, with Java's names and lines.

use std::{io::Write, sync::Arc, thread, time::Duration};

use super::{
    ProgramError,
    cluster::NameServers,
    consumer::{Consumer, From},
    producer::{Outgoing, Producer},
    shown, stop_flag,
};

/// Java's names.
const TOPIC: &str = "TopicTest";
const PRODUCER_GROUP: &str = "please_rename_unique_group_name";
const CONSUMER_GROUP: &str = "please_rename_unique_group_name_4";
/// After a message that could not be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// Which of the two, and where.
#[derive(Debug, clap::Args)]
pub struct QuickstartArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Sends `Hello RocketMQ 0` to `999` to TopicTest, one after the other, and prints each result.
    Producer(ProducerArgs),
    /// Prints every message of TopicTest, the first ones first, until it is ended.
    Consumer(Place),
}

#[derive(Debug, clap::Args)]
struct ProducerArgs {
    #[command(flatten)]
    place: Place,
    /// How many messages.
    #[arg(long, default_value_t = 1_000)]
    count: u32,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Name servers, `host:port` separated by `;` (default: NAMESRV_ADDR).
    #[arg(short = 'n', long = "namesrvAddr")]
    namesrv_addr: Option<String>,
}

/// Runs it to its end.
pub fn run(args: &QuickstartArgs) -> Result<(), ProgramError> {
    match &args.role {
        Role::Producer(args) => produce(args),
        Role::Consumer(place) => consume(place),
    }
}

/// As Java's, which goes on after a message that failed; but the first one finds out whether there is a broker at all.
fn produce(args: &ProducerArgs) -> Result<(), ProgramError> {
    let servers = NameServers::of(args.place.namesrv_addr.as_deref())?;
    let mut producer = Producer::new(servers, PRODUCER_GROUP);
    let mut failed = 0;
    let mut last = None;
    for number in 0..args.count {
        let body = format!("Hello RocketMQ {number}");
        let message = Outgoing {
            topic: TOPIC,
            body: body.as_bytes(),
            properties: &[("TAGS", "TagA")],
            sys_flag: 0,
        };
        match producer.send(&message) {
            Ok(result) => print(&result.to_string()),
            Err(error) if number == 0 => return Err(error),
            Err(error) => {
                eprintln!("mqbench: message {number}: {error}");
                (failed, last) = (failed + 1, Some(error));
                thread::sleep(PAUSE);
            }
        }
    }
    match last {
        // Java's ends with 0; who runs it in a script wants to know.
        Some(error) if failed > 0 => Err(error),
        _ => Ok(()),
    }
}

fn consume(place: &Place) -> Result<(), ProgramError> {
    let servers = NameServers::of(place.namesrv_addr.as_deref())?;
    let stop = stop_flag()?;
    let consumer = Consumer::new(servers, CONSUMER_GROUP, TOPIC, From::First);
    print("Consumer Started.");
    consumer.run(
        &stop,
        Arc::new(|broker, message| {
            print(&format!(
                "ConsumeMessageThread_{CONSUMER_GROUP}_1 Receive New Messages: [{}] ",
                shown::message(broker, message)
            ));
            true
        }),
    )
}

/// Whoever has read enough and gone misses nothing.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
