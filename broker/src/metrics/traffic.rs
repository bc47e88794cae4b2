//! What topics took and groups got, for a scrape: totals of [`crate::traffic`], written family by family in pieces.
//!
//! A piece begins behind the names with which the one before has ended. What comes or goes in between is there or not; nothing
//! is written twice.

use super::{Observer, families as of, scrape::pause};
use crate::traffic::{Collection, GroupTotals, TopicTotals, Traffic};
use telemetry::{Family, Page};

/// Label sets written between two looks at how long that has taken.
const LABEL_SETS_AT_ONCE: usize = 64;

type OfTopic = fn(&TopicTotals<'_>) -> u64;
type OfGroup = fn(&GroupTotals<'_>) -> u64;

const OF_TOPICS: [(Family, OfTopic); 2] = [
    (of::TOPIC_PUT_MESSAGES, |totals| totals.messages),
    (of::TOPIC_PUT_BYTES, |totals| totals.bytes),
];

const OF_GROUPS: [(Family, OfGroup); 4] = [
    (of::GROUP_GOT_MESSAGES, |totals| totals.messages),
    (of::GROUP_GOT_BYTES, |totals| totals.bytes),
    (of::GROUP_ACKNOWLEDGED, |totals| totals.acknowledged),
    (of::GROUP_SENT_BACK, |totals| totals.sent_back),
];

pub(super) async fn write(page: &mut Page, observer: &Observer, collection: &Collection) {
    for (family, number) in OF_TOPICS {
        page.family(&family);
        let mut last = None;
        loop {
            last = collection.look(|traffic| write_topics(page, traffic, last, number));
            if last.is_none() {
                break;
            }
            pause(observer).await;
        }
    }
    for (family, number) in OF_GROUPS {
        page.family(&family);
        let mut last = None;
        loop {
            last = collection.look(|traffic| write_groups(page, traffic, last, number));
            if last.is_none() {
                break;
            }
            pause(observer).await;
        }
    }
    page.single(&of::TRAFFIC_LEFT_OUT, collection.look(Traffic::left_out));
}

/// Returns the last topic of a full piece.
fn write_topics(
    page: &mut Page,
    traffic: &Traffic,
    after: Option<Box<str>>,
    number: OfTopic,
) -> Option<Box<str>> {
    let mut topics = traffic.topics_after(after.as_deref());
    let mut last = None;
    for _ in 0..LABEL_SETS_AT_ONCE {
        let totals = topics.next()?;
        page.value(&[totals.topic], number(&totals));
        last = Some(totals.topic);
    }
    last.map(Box::from)
}

/// Returns the last topic and group of a full piece.
fn write_groups(
    page: &mut Page,
    traffic: &Traffic,
    after: Option<(Box<str>, Box<str>)>,
    number: OfGroup,
) -> Option<(Box<str>, Box<str>)> {
    let after = after.as_ref().map(|(topic, group)| (&**topic, &**group));
    let mut groups = traffic.groups_after(after);
    let mut last = None;
    for _ in 0..LABEL_SETS_AT_ONCE {
        let totals = groups.next()?;
        page.value(&[totals.group, totals.topic], number(&totals));
        last = Some((totals.topic, totals.group));
    }
    last.map(|(topic, group)| (topic.into(), group.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::group_pulls::{Gets, GroupCounts};
    use runtime::Uptime;
    use store::Puts;

    const NOW: Uptime = Uptime::from_ms(36_000_000);

    /// Topics with so many groups on each.
    fn traffic(groups: &[usize]) -> Traffic {
        let mut traffic = Traffic::new("c", 64 << 20);
        for (topic, groups) in groups.iter().enumerate() {
            let topic = format!("t{topic:04}");
            let puts = Puts { messages: 2, bytes: 200, batched: 0 };
            traffic.add_puts(NOW, (&topic, 0), puts, false);
            for group in 0..*groups {
                let (group, topic) = (format!("g{group:04}").into(), topic.as_str().into());
                let queues = vec![(0, Gets::of(1, 100, 0))];
                let counts = GroupCounts { topic, group, queues, ..GroupCounts::default() };
                traffic.add_gets(NOW, &counts, false);
            }
        }
        traffic
    }

    fn lines(page: Page) -> Vec<String> {
        let text = String::from_utf8(page.finish().concat()).expect("text");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn pieces_together_have_everything_once() {
        let at_once = LABEL_SETS_AT_ONCE;
        for topics in [0, 1, at_once - 1, at_once, at_once + 1, 2 * at_once] {
            // None, fewer than a piece holds, more.
            let groups: Vec<usize> = (0..topics).map(|topic| 40 * (topic % 3)).collect();
            let traffic = traffic(&groups);
            assert_eq!(traffic.left_out(), 0);
            let (mut page, mut last) = (Page::new(100_000), None);
            page.family(&of::TOPIC_PUT_BYTES);
            loop {
                last = write_topics(&mut page, &traffic, last, OF_TOPICS[1].1);
                if last.is_none() {
                    break;
                }
            }
            let of_topic =
                |topic| format!("ringmq_topic_put_bytes_total{{topic=\"t{topic:04}\"}} 200");
            assert_eq!(lines(page), (0..topics).map(of_topic).collect::<Vec<_>>());
            let (mut page, mut last) = (Page::new(100_000), None);
            page.family(&of::GROUP_GOT_MESSAGES);
            loop {
                last = write_groups(&mut page, &traffic, last, OF_GROUPS[0].1);
                if last.is_none() {
                    break;
                }
            }
            let mut expected = Vec::new();
            for (topic, groups) in groups.iter().enumerate() {
                expected.extend((0..*groups).map(|group| {
                    let labels = format!("group=\"g{group:04}\",topic=\"t{topic:04}\"");
                    format!("ringmq_group_got_messages_total{{{labels}}} 1")
                }));
            }
            assert_eq!(lines(page), expected);
        }
    }
}
