//! The Rust client program (`rocketmq-client-rust` 1.0.0), tried by hand.
//!
//! produce NAMESRV TOPIC GROUP COUNT [TAG]                  SENT <message id> <queue> <offset> <body>
//! consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]  RECV <queue> <offset> <body>, at the end DONE <count>
#![recursion_limit = "512"]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rocketmq_client_rust::{
    ClientResult, ClientRuntime, ClientRuntimeConfig, ConsumeConcurrentlyContext,
    ConsumeConcurrentlyStatus, DefaultMQProducer, DefaultMQPushConsumer, MQPushConsumer,
    MessageListenerConcurrently,
};
use rocketmq_model::common::message::{message_ext::MessageExt, message_single::Message};
use rocketmq_observability::TelemetryBootstrapConfig;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use tokio::{io::AsyncReadExt, sync::Notify};

#[tokio::main]
async fn main() -> ClientResult<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let owner = RuntimeOwner::plan(RuntimeConfig::default())
        .expect("the default configuration is valid")
        .build()
        .expect("a runtime");
    let telemetry = rocketmq_observability::install_global(&TelemetryBootstrapConfig::default())
        .expect("telemetry is off by default");
    let context = owner.root_context().component("client");
    let runtime = ClientRuntime::try_new(context, ClientRuntimeConfig::default(), telemetry.handle())?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["produce", namesrv, topic, group, count, ref tag @ ..] => {
            produce(runtime, namesrv, topic, group, number(count), tag.first().copied()).await?;
        }
        ["consume", namesrv, topic, group, expect, seconds, ref expression @ ..] => {
            let expression = expression.first().copied().unwrap_or("*");
            let limit = Duration::from_secs(number(seconds) as u64);
            consume(runtime, namesrv, topic, (group, expression), number(expect), limit).await?;
        }
        _ => panic!("usage: produce|consume NAMESRV TOPIC GROUP COUNT ..."),
    }
    // The runtimes of the library report tasks left over as failures; everything of interest has been shut down.
    std::process::exit(0);
}

async fn produce(
    runtime: Arc<ClientRuntime>,
    namesrv: &str,
    topic: &str,
    group: &str,
    count: usize,
    tag: Option<&str>,
) -> ClientResult<()> {
    let mut producer = DefaultMQProducer::builder(runtime)
        .producer_group(group.to_string())
        .name_server_addr(namesrv.to_string())
        .build();
    producer.start().await?;
    for n in 0..count {
        let body = format!("{group}.{}-{n}", std::process::id());
        let message = Message::builder().topic(topic).body_slice(body.as_bytes());
        let message = match tag {
            Some(tag) => message.tags(tag).build_unchecked(),
            None => message.build_unchecked(),
        };
        // The result's fields are wrapped differently from release to release: its debug form tells enough by hand.
        let result = producer.send_with_timeout(message, 5_000).await?;
        println!("SENT {result:?} {body}");
    }
    producer.shutdown().await;
    Ok(())
}

async fn consume(
    runtime: Arc<ClientRuntime>,
    namesrv: &str,
    topic: &str,
    (group, expression): (&str, &str),
    expect: usize,
    limit: Duration,
) -> ClientResult<()> {
    let mut consumer = DefaultMQPushConsumer::builder(runtime)
        .consumer_group(group.to_string())
        .name_server_addr(namesrv.to_string())
        .build();
    let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    consumer.subscribe(topic, expression).await?;
    consumer.register_message_listener_concurrently(Listener {
        count: Arc::clone(&count),
        enough: Arc::clone(&enough),
        expect,
    });
    consumer.start().await?;
    println!("READY");
    let closed = async {
        let mut sink = [0; 256];
        while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
    };
    tokio::select! {
        () = enough.notified() => {}
        () = closed => {}
        () = tokio::time::sleep(limit) => {}
    }
    consumer.shutdown().await;
    println!("DONE {}", count.load(Ordering::Relaxed));
    Ok(())
}

struct Listener {
    count: Arc<AtomicUsize>,
    enough: Arc<Notify>,
    expect: usize,
}

impl MessageListenerConcurrently for Listener {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        for message in messages {
            let body = message.body().map(|b| String::from_utf8_lossy(&b).into_owned());
            println!("RECV {} {} {}", message.queue_id(), message.queue_offset(), body.unwrap_or_default());
        }
        let count = self.count.fetch_add(messages.len(), Ordering::Relaxed) + messages.len();
        if self.expect > 0 && count >= self.expect {
            self.enough.notify_one();
        }
        Ok(ConsumeConcurrentlyStatus::ConsumeSuccess)
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
