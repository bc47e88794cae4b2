//! What brokers have counted: VIEW_BROKER_STATS_DATA (315).

use proto::body::BrokerStatsData;
use proto::code::request;

use super::{AdminError, DefaultMqAdminExt};

/// Messages sent to a topic; the key is its name.
pub const TOPIC_PUT_NUMS: &str = "TOPIC_PUT_NUMS";
/// Messages that a group got; the key is `topic@group`.
pub const GROUP_GET_NUMS: &str = "GROUP_GET_NUMS";

impl DefaultMqAdminExt {
    /// VIEW_BROKER_STATS_DATA (315): what a broker has counted under a name and key.
    pub async fn view_broker_stats_data(
        &self,
        addr: &str,
        name: &str,
        key: &str,
    ) -> Result<BrokerStatsData, AdminError> {
        let ext = [("statsName", name.into()), ("statsKey", key.into())];
        let request = self.request(request::VIEW_BROKER_STATS_DATA, &ext);
        self.ask_broker(addr, &request).await?.body(BrokerStatsData::read)
    }
}

/// Messages of the last day, or as long as there are figures: as Java's tools count them.
pub fn compute_24_hour_sum(data: &BrokerStatsData) -> i64 {
    let windows = [data.stats_day, data.stats_hour, data.stats_minute];
    windows.iter().map(|window| window.sum).find(|sum| *sum != 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proto::body::StatsWindow;

    use super::*;

    #[test]
    fn the_longest_window_with_messages_counts() {
        let window = |sum| StatsWindow { sum, ..StatsWindow::default() };
        let data = |day, hour, minute| BrokerStatsData {
            stats_day: window(day),
            stats_hour: window(hour),
            stats_minute: window(minute),
        };
        assert_eq!(compute_24_hour_sum(&data(30, 20, 10)), 30);
        assert_eq!(compute_24_hour_sum(&data(0, 20, 10)), 20);
        assert_eq!(compute_24_hour_sum(&data(0, 0, 10)), 10);
        assert_eq!(compute_24_hour_sum(&data(0, 0, 0)), 0);
    }
}
