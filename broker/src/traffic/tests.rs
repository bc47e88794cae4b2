//! Traffic is found under the names and keys that Java's tools ask for, and takes up no more than it may.

use super::*;

const NOW: Uptime = Uptime::from_ms(36_000_000);

fn puts(messages: u64, bytes: u64, batched: u64) -> Puts {
    Puts { messages, bytes, batched }
}

fn counts(topic: &str, group: &str, queues: &[(u32, Gets)]) -> GroupCounts {
    let (topic, group) = (topic.into(), group.into());
    GroupCounts { topic, group, queues: queues.to_vec(), ..GroupCounts::default() }
}

fn traffic() -> Traffic {
    let mut traffic = Traffic::new("c", 1 << 20);
    traffic.add_puts(NOW, ("t", 0), puts(30, 3_000, 20), false);
    traffic.add_puts(NOW, ("t", 5), puts(10, 1_000, 0), false);
    traffic.add_puts(NOW, ("s", 0), puts(7, 70, 0), true);
    let gets = [(0, Gets::of(20, 2_000, 0)), (5, Gets::of(5, 500, 8))];
    let got = GroupCounts { sent_back: 2, acknowledged: 4, ..counts("t", "g", &gets) };
    traffic.add_gets(NOW, &got, false);
    traffic.add_gets(NOW, &counts("s", "g", &[(0, Gets::of(3, 30, 0))]), true);
    traffic
}

fn recounted(traffic: &Traffic) -> usize {
    traffic.topics.iter().map(|(name, topic)| topic.taken(name).bytes).sum()
}

#[test]
fn tools_find_what_they_ask_for_by_name_and_key() {
    let traffic = traffic();
    let sum_and_avgpt = |name: &str, key: &str| {
        let last = traffic.figures(name, key, NOW + 5_000)?;
        let [minute, hour, day] = last;
        assert_eq!((minute.sum, hour.sum), (hour.sum, day.sum), "{name} {key}");
        assert_eq!(minute.tps, minute.sum as f64 / 10.0, "no shorter than a span");
        assert_eq!(day.tps, day.sum as f64 / 3_600.0);
        Some((minute.sum, minute.avgpt))
    };
    for (name, key, expected) in [
        ("TOPIC_PUT_NUMS", "t", (40, 2.0)),
        ("TOPIC_PUT_SIZE", "t", (4_000, 200.0)),
        ("QUEUE_PUT_NUMS", "t@0", (30, 3.0)),
        ("QUEUE_PUT_SIZE", "t@5", (1_000, 100.0)),
        ("GROUP_GET_NUMS", "t@g", (25, 12.5)),
        ("GROUP_GET_SIZE", "t@g", (2_500, 1_250.0)),
        ("QUEUE_GET_NUMS", "t@5@g", (5, 5.0)),
        ("QUEUE_GET_SIZE", "t@0@g", (2_000, 2_000.0)),
        ("GROUP_GET_LATENCY", "5@t@g", (8, 8.0)),
        ("GROUP_ACK_NUMS", "t@g", (4, 1.0)),
        ("SNDBCK_PUT_NUMS", "t@g", (2, 1.0)),
        ("BROKER_PUT_NUMS", "c", (47, 0.0)),
        ("BROKER_GET_NUMS", "c", (28, 0.0)),
        ("BROKER_ACK_NUMS", "c", (4, 0.0)),
        ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "c", (40, 0.0)),
        ("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", "c", (25, 0.0)),
    ] {
        assert_eq!(sum_and_avgpt(name, key), Some(expected), "{name} {key}");
    }
    for (name, key) in [
        ("TOPIC_PUT_NUMS", "u"),
        ("TOPIC_PUT_NUMS", ""),
        ("QUEUE_PUT_NUMS", "t@1"),
        ("QUEUE_PUT_NUMS", "t@x"),
        ("GROUP_GET_NUMS", "t"),
        ("GROUP_GET_NUMS", "t@h"),
        ("GROUP_GET_LATENCY", "t@5@g"),
        ("SNDBCK_PUT_NUMS", "s@g"),
        ("BROKER_PUT_NUMS", "t"),
        ("GROUP_GET_FALL_TIME", "0@t@g"),
        ("", ""),
    ] {
        assert_eq!(traffic.figures(name, key, NOW), None, "{name} {key}");
    }
    assert_eq!((traffic.put_tps("t", NOW), traffic.put_tps("u", NOW)), (4.0, 0.0));
    assert_eq!((traffic.get_tps("g", "t", NOW), traffic.get_tps("h", "t", NOW)), (2.5, 0.0));
}

#[test]
fn totals_are_listed_by_topic_and_by_group() {
    let traffic = traffic();
    let topics: Vec<_> = traffic.topics_after(None).collect();
    let of_s = TopicTotals { topic: "s", messages: 7, bytes: 70, requests: 7 };
    let of_t = TopicTotals { topic: "t", messages: 40, bytes: 4_000, requests: 20 };
    assert_eq!(topics, [of_s, of_t]);
    assert_eq!(traffic.topics_after(Some("s")).map(|it| it.topic).collect::<Vec<_>>(), ["t"]);
    let groups: Vec<_> = traffic.groups_after(Some(("s", "g"))).collect();
    let of_g = GroupTotals {
        topic: "t",
        group: "g",
        messages: 25,
        bytes: 2_500,
        requests: 2,
        acknowledged: 4,
        sent_back: 2,
    };
    assert_eq!(groups, [of_g]);
    let names = |after| {
        let groups = traffic.groups_after(after);
        groups.map(|it| format!("{}@{}", it.topic, it.group)).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["s@g", "t@g"]);
    assert_eq!(names(Some(("s", "a"))), ["s@g", "t@g"], "one that is gone");
    assert_eq!(names(Some(("sa", "z"))), ["t@g"]);
    assert_eq!(names(Some(("t", "g"))), [""; 0]);
    assert_eq!(traffic.totals_of_clients(), DayTotals { puts: 40, gets: 25 });
}

#[test]
fn what_is_deleted_is_forgotten() {
    let mut traffic = traffic();
    traffic.forget(&["t".to_owned(), "never".to_owned()], &["g".to_owned()]);
    assert_eq!(traffic.figures("TOPIC_PUT_NUMS", "t", NOW), None);
    assert_eq!(traffic.figures("GROUP_GET_NUMS", "s@g", NOW), None);
    assert!(traffic.figures("TOPIC_PUT_NUMS", "s", NOW).is_some());
    assert_eq!(traffic.totals_of_clients(), DayTotals { puts: 40, gets: 25 }, "it happened");
    assert_eq!(traffic.memory_bytes().0, recounted(&traffic));
    traffic.forget(&["s".to_owned()], &[]);
    assert_eq!(traffic.memory_bytes().0, 0);
}

#[test]
fn who_is_idle_is_forgotten_sooner_while_memory_is_short() {
    let mut traffic = traffic();
    traffic.add_puts(NOW + 3_600_000, ("s", 0), puts(1, 1, 0), true);
    let names = |traffic: &Traffic| {
        traffic.topics_after(None).map(|totals| totals.topic.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(traffic.forget_idle(NOW + 4_000_000, None, 9), None);
    assert_eq!(names(&traffic), ["s", "t"], "there is room");
    traffic.memory.bytes_max = traffic.memory.bytes;
    let next = traffic.forget_idle(NOW + 4_000_000, None, 1);
    assert_eq!((next.as_deref(), names(&traffic).len()), (Some("s"), 2), "piece by piece");
    traffic.memory.bytes_max = traffic.memory.bytes;
    assert_eq!(traffic.forget_idle(NOW + 4_000_000, next.as_deref(), 2), None);
    assert_eq!(names(&traffic), ["s"]);
    assert_eq!(traffic.groups_after(None).count(), 0);
    assert_eq!(traffic.memory_bytes().0, recounted(&traffic));
    traffic.forget_idle(NOW + 4 * 86_400_000, None, 9);
    assert_eq!(traffic.memory_bytes().0, 0);
}

/// Goal: no traffic takes more memory than there is, queues leave half of it to topics and groups, and nothing of it is
/// missing from what is counted of the whole broker.
#[test]
fn what_there_is_no_room_for_is_left_out_and_counted() {
    let bytes_max = 100_000;
    let mut traffic = Traffic::new("c", bytes_max);
    for queue_id in 0..1_000 {
        traffic.add_puts(NOW, ("t", queue_id), puts(1, 10, 0), false);
        traffic.add_gets(NOW, &counts("t", "g", &[(queue_id, Gets::of(1, 10, 0))]), false);
    }
    let (bytes, _) = traffic.memory_bytes();
    assert!((bytes_max / 3..=bytes_max * 2 / 3).contains(&bytes), "{bytes}");
    for number in 0..1_000 {
        traffic.add_puts(NOW, (&format!("u{number}"), 0), puts(1, 10, 0), false);
    }
    let (bytes, _) = traffic.memory_bytes();
    assert!((bytes_max * 9 / 10..=bytes_max).contains(&bytes), "{bytes}");
    assert_eq!(bytes, recounted(&traffic), "what is counted is what is there");
    let left_out = traffic.left_out();
    assert!(left_out > 2_500, "{left_out}");
    assert_eq!(traffic.totals_of_clients(), DayTotals { puts: 2_000, gets: 1_000 });
    let of_topic = traffic.figures("TOPIC_PUT_NUMS", "t", NOW).expect("it came first");
    assert_eq!(of_topic[0].sum, 1_000, "of all queues");
}
