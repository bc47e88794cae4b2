//! Draining: the broker leaves the routes of producers, as with `brokerPermission=4`, while its consumers finish what is here;
//! then it can be stopped and nobody misses a message. DRAIN_BROKER, a request of our own, begins and ends it and tells how
//! far it is; SIGUSR1 begins it, and the log tells. It is no setting: a start always begins without. Runs on the control worker.

use crate::{
    error::Refusal,
    metrics::lags,
    request::Request,
    response::{Answering, Response},
    stats::Sum,
    worker::Worker,
};
use proto::code::response;
use runtime::UserSignal;
use serde_json::{Value, json};
use std::{collections::BTreeMap, rc::Rc, time::Duration};

/// How long a signal may go unnoticed.
const LOOK: Duration = Duration::from_millis(250);
/// Looks between two lines of progress in the log: ten seconds.
const LOOKS_PER_LINE: u32 = 40;

/// How far it is.
#[derive(Debug)]
struct Progress {
    /// Since when it is being drained, ms.
    since_ms: Option<i64>,
    /// Whether nothing is left that anybody who is here waits for.
    drained: bool,
    /// Messages that groups with members have not consumed.
    messages: u64,
    /// Messages that wait for their time.
    delayed: u64,
    /// Half messages that nobody has decided on.
    half_messages: u64,
    /// Who is behind where; groups without members, too, for an operator to decide about.
    groups: Vec<Behind>,
}

/// A group that has not consumed everything of a topic.
#[derive(Debug)]
struct Behind {
    group: Box<str>,
    topic: Box<str>,
    messages: u64,
    online: bool,
}

/// DRAIN_BROKER. Answered when the change is durable and name servers that answer know it.
pub fn serve(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let action = request.header.ext.get("action").unwrap_or("status").to_owned();
    Box::pin(async move {
        match action.as_str() {
            "status" => {}
            "start" => set(&worker, true).await?,
            "stop" => set(&worker, false).await?,
            other => {
                let remark = format!("action={other}: expected start, stop or status");
                return Err(Refusal::new(response::INVALID_PARAMETER, remark));
            }
        }
        Ok(Response::body(progress(&worker).await.to_json().to_string().into_bytes()))
    })
}

async fn set(worker: &Rc<Worker>, draining: bool) -> Result<(), Refusal> {
    let plane = worker.control_plane();
    let now = worker.executor.now();
    if !plane.change(worker, |control| control.set_draining(now, draining)) {
        return Ok(());
    }
    if draining {
        tracing::info!(
            "draining: no producer is sent here any more; stop the broker when its consumers have finished"
        );
    } else {
        tracing::info!("draining has ended: producers are sent here again");
    }
    plane.shown(None, None).await?;
    plane.registered().await;
    Ok(())
}

async fn progress(worker: &Rc<Worker>) -> Progress {
    let mut lags: BTreeMap<(Box<str>, Box<str>), u64> = BTreeMap::new();
    for (group, topic, messages) in
        worker.gather_from_workers(lags::messages).await.into_iter().flatten()
    {
        *lags.entry((group, topic)).or_default() += messages;
    }
    let control = worker.control_plane().control.borrow();
    let since = control.draining_since();
    let groups: Vec<Behind> = lags
        .into_iter()
        .filter(|(_, messages)| *messages > 0)
        .map(|((group, topic), messages)| {
            let online = control.is_online(&group);
            Behind { group, topic, messages, online }
        })
        .collect();
    let Sum { deferred: delayed, half_messages, .. } = Sum::of(&worker.totals);
    let messages = groups.iter().filter(|it| it.online).map(|it| it.messages).sum();
    Progress {
        since_ms: since,
        drained: messages + delayed + half_messages == 0,
        messages,
        delayed,
        half_messages,
        groups,
    }
}

impl Progress {
    fn to_json(&self) -> Value {
        let of_group = |behind: &Behind| {
            let Behind { group, topic, messages, online } = behind;
            json!({ "group": group, "topic": topic, "messages": messages, "online": online })
        };
        json!({
            "draining": self.since_ms.is_some(),
            "sinceMs": self.since_ms.unwrap_or(0),
            "drained": self.drained,
            "messages": self.messages,
            "delayed": self.delayed,
            "halfMessages": self.half_messages,
            "groups": self.groups.iter().map(of_group).collect::<Vec<Value>>(),
        })
    }
}

/// Begins to drain when the signal comes, and tells the log how far it is, until the executor ends.
pub async fn run(worker: Rc<Worker>, signal: UserSignal) {
    let mut looks = 0;
    while !worker.executor.stop().requested() {
        worker.executor.sleep(LOOK).await;
        if signal.take()
            && let Err(refusal) = set(&worker, true).await
        {
            tracing::error!(remark = refusal.remark, "draining could not begin");
        }
        if worker.control_plane().control.borrow().draining_since().is_none() {
            looks = 0;
            continue;
        }
        if looks % LOOKS_PER_LINE == 0 {
            tell(&progress(&worker).await);
        }
        looks += 1;
    }
}

fn tell(progress: &Progress) {
    let Progress { drained, messages, delayed, half_messages, groups, .. } = progress;
    let offline: u64 = groups.iter().filter(|it| !it.online).map(|it| it.messages).sum();
    tracing::info!(
        drained,
        messages,
        delayed,
        half_messages,
        of_groups_without_members = offline,
        "draining"
    );
}
