//! VIEW_BROKER_STATS_DATA: what was counted in the last minute, hour and day, by the names and keys of Java's broker.

use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    traffic::Figures,
    worker::Worker,
};
use proto::{
    body::{BrokerStatsData, StatsWindow},
    request::BrokerStatsHeader,
};
use std::rc::Rc;

/// Serves the request. What does not exist, or had no traffic, is refused with code 1, which tools take for nothing.
pub fn view(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = BrokerStatsHeader::from_ext(&request.header.ext)
        .map(|header| (header.stats_name.to_owned(), header.stats_key.to_owned()));
    Box::pin(async move {
        let (name, key) = asked?;
        let traffic = &worker.control_plane().traffic;
        let now = worker.executor.uptime();
        traffic.refresh(now).await;
        let found = traffic.look(|traffic| traffic.figures(&name, &key, now));
        let [minute, hour, day] = found.ok_or_else(|| not_exist(&name, &key))?;
        let data = BrokerStatsData {
            stats_day: window(day),
            stats_hour: window(hour),
            stats_minute: window(minute),
        };
        let mut body = Vec::new();
        data.write(&mut body);
        Ok(Response::body(body))
    })
}

fn window(figures: Figures) -> StatsWindow {
    let Figures { sum, tps, avgpt } = figures;
    StatsWindow { avgpt, sum: i64::try_from(sum).unwrap_or(i64::MAX), tps }
}

fn not_exist(name: &str, key: &str) -> Refusal {
    let shown = |text: &str| text.chars().take(300).collect::<String>();
    Refusal::system_error(format!("The stats <{}> <{}> not exist", shown(name), shown(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_named_but_not_at_any_length() {
        let refusal = not_exist("TOPIC_PUT_NUMS", "t");
        assert_eq!(refusal.remark, "The stats <TOPIC_PUT_NUMS> <t> not exist");
        assert!(not_exist("x", &"k".repeat(100_000)).remark.len() < 400);
    }
}
