//! Stories of a broker and its name servers, played to the state machine.

use super::*;

const V1: DataVersion = DataVersion { timestamp: 1, counter: 1 };
const V2: DataVersion = DataVersion { timestamp: 1, counter: 2 };

fn at(ms: Millis) -> Uptime {
    Uptime::from_ms(ms)
}

fn two(options: Options) -> Registration {
    Registration::new(options, &["ns1:9876".to_owned(), "ns2:9876".to_owned()], at(0))
}

/// Connects one name server and returns the first thing sent.
fn join(registration: &mut Registration, index: usize, now: Millis) -> Send {
    assert_eq!(registration.next(index, V1, at(now)), Action::Connect);
    assert_eq!(registration.next(index, V1, at(now)), Action::Wait, "an action is given out once");
    registration.connected(index, at(now));
    sent(registration, index, V1, now)
}

fn sent(registration: &mut Registration, index: usize, version: DataVersion, now: Millis) -> Send {
    match registration.next(index, version, at(now)) {
        Action::Send(send) => send,
        other => panic!("expected to send, not {other:?}"),
    }
}

fn accepted() -> ServerResponse {
    ServerResponse::Accepted { changed: true, learned: Learned::default() }
}

/// At once, after ten seconds, then every period, to each name server on its own clock.
#[test]
fn periods_are_kept() {
    let mut registration = two(Options { period_ms: 20_000, ..Options::default() });
    let first = join(&mut registration, 0, 0);
    assert_eq!(first.what, ServerRequest::Register);
    assert_eq!(registration.next(0, V1, at(100)), Action::Wait);
    assert_eq!(
        registration.answered(0, first.opaque, accepted(), at(100)),
        Some(StateChange::Registered)
    );
    assert_eq!(registration.registered_count(), 1);
    assert_eq!(registration.next(0, V1, at(10_099)), Action::Wait);
    let second = sent(&mut registration, 0, V1, 10_100);
    assert_eq!(
        registration.answered(0, second.opaque, accepted(), at(10_200)),
        None,
        "reported once"
    );
    assert_eq!(registration.next(0, V1, at(30_199)), Action::Wait);
    assert_eq!(sent(&mut registration, 0, V1, 30_200).what, ServerRequest::Register);
    assert_eq!(registration.next(1, V1, at(30_200)), Action::Connect);
}

/// The period is clamped as Java clamps it.
#[test]
fn periods_have_bounds() {
    assert_eq!(two(Options { period_ms: 1, ..Options::default() }).options.period_ms, 10_000);
    assert_eq!(
        two(Options { period_ms: 99_999_999, ..Options::default() }).options.period_ms,
        60_000
    );
}

/// A new topic is registered at once, by itself; a flood of new topics together; nothing twice.
#[test]
fn changes_are_told_at_once_and_one_after_the_other() {
    let mut registration = two(Options::default());
    let first = join(&mut registration, 0, 0);
    assert_eq!(registration.in_flight(), [(0, first.opaque)]);
    assert_eq!(registration.next(0, V2, at(500)), Action::Wait, "an answer is under way");
    registration.answered(0, first.opaque, accepted(), at(500));
    let change = sent(&mut registration, 0, V2, 500);
    assert_eq!(change.what, ServerRequest::RegisterSince(V1));
    assert_eq!(registration.in_flight(), [(0, change.opaque)]);
    let v9 = DataVersion { counter: 9, ..V1 };
    assert_eq!(registration.next(0, v9, at(505)), Action::Wait);
    assert!(
        registration.has_registered(V1) && !registration.has_registered(V2),
        "sent, and not yet acknowledged"
    );
    assert_eq!(registration.answered(0, change.opaque, accepted(), at(510)), None, "reported once");
    assert!(registration.has_registered(V2) && !registration.has_registered(v9));
    let third = sent(&mut registration, 0, v9, 510);
    assert_eq!(third.what, ServerRequest::RegisterSince(V2), "all that came meanwhile");
    registration.answered(0, third.opaque, accepted(), at(511));
    assert!(
        registration.has_registered(v9) && registration.has_registered(V2),
        "who knows more knows that, too"
    );
    assert!(registration.in_flight().is_empty());
    assert_eq!(registration.next(0, v9, at(10_499)), Action::Wait);
    assert_eq!(sent(&mut registration, 0, v9, 10_500).what, ServerRequest::Register, "the period");
}

/// What a name server refused, or a connection lost, is registered whole; that not too often.
#[test]
fn after_a_refusal_everything_is_told() {
    let mut registration = two(Options::default());
    let first = join(&mut registration, 0, 0);
    registration.answered(0, first.opaque, accepted(), at(10));
    let change = sent(&mut registration, 0, V2, 50);
    let refused = ServerResponse::Refused { code: 1, remark: "crc32 not match".to_owned() };
    registration.answered(0, change.opaque, refused, at(60));
    assert_eq!(registration.next(0, V2, at(99)), Action::Wait, "it was sent");
    let v3 = DataVersion { counter: 3, ..V1 };
    assert_eq!(
        registration.next(0, v3, at(99)),
        Action::Wait,
        "everything was registered a moment ago"
    );
    assert_eq!(sent(&mut registration, 0, v3, 100).what, ServerRequest::Register);
    registration.lost(0, "gone", at(110));
    assert!(registration.has_registered(v3), "who is away is not waited for");
    assert_eq!(registration.next(0, v3, at(5_000)), Action::Connect);
    registration.connected(0, at(5_000));
    assert!(!registration.has_registered(v3));
    assert_eq!(sent(&mut registration, 0, v3, 5_000).what, ServerRequest::Register);
}

/// Without forceRegister a period asks first, and registers only when the answer wants it.
#[test]
fn unforced_periods_ask_first() {
    let mut registration = two(Options { force: false, ..Options::default() });
    let first = join(&mut registration, 0, 0);
    assert_eq!(first.what, ServerRequest::Register, "the first registration is never asked for");
    registration.answered(0, first.opaque, accepted(), at(0));
    let ask = sent(&mut registration, 0, V1, 10_000);
    assert_eq!(ask.what, ServerRequest::Version);
    let unchanged = ServerResponse::Accepted { changed: false, learned: Learned::default() };
    registration.answered(0, ask.opaque, unchanged, at(10_000));
    assert_eq!(registration.next(0, V1, at(39_999)), Action::Wait);
    let ask = sent(&mut registration, 0, V1, 40_000);
    registration.answered(0, ask.opaque, accepted(), at(40_001));
    assert_eq!(sent(&mut registration, 0, V1, 40_001).what, ServerRequest::Register);
}

/// The name server in the same process is asked even so; others are not.
#[test]
fn our_own_name_server_is_asked_first() {
    let mut registration = two(Options { own_last: true, ..Options::default() });
    for (index, what) in [(0, ServerRequest::Register), (1, ServerRequest::Version)] {
        let first = join(&mut registration, index, 0);
        registration.answered(index, first.opaque, accepted(), at(0));
        assert_eq!(sent(&mut registration, index, V1, 10_000).what, what);
    }
}

/// A name server that is away is tried again with growing pauses, reported once, and registered with as soon as it is
/// back; the other one does not notice.
#[test]
fn absence_is_waited_out() {
    let mut registration = two(Options::default());
    let mut now = 0;
    let mut pauses = Vec::new();
    for attempt in 0..7 {
        assert_eq!(registration.next(0, V1, at(now)), Action::Connect);
        let news = registration.lost(0, "refused", at(now));
        // At once, and a minute later again.
        assert!(news.is_some() || attempt > 0);
        let tried = now;
        while registration.next(0, V1, at(now)) == Action::Wait {
            now += 500;
        }
        pauses.push(now - tried);
        registration.lost(0, "put back", at(now - 1));
        now += 20_000;
    }
    assert_eq!(pauses.first(), Some(&1_000));
    assert_eq!(pauses.last(), Some(&10_000));
    let first = join(&mut registration, 0, now);
    assert_eq!(
        registration.answered(0, first.opaque, accepted(), at(now)),
        Some(StateChange::Registered)
    );
    assert!(registration.lost(0, "restarted", at(now + 5_000)).is_some());
    assert_eq!(join(&mut registration, 0, now + 6_000).what, ServerRequest::Register);
}

/// No answer in time: the connection is to be closed. A refusal is reported and tried again soon.
#[test]
fn silence_and_refusal() {
    let mut registration = two(Options::default());
    let first = join(&mut registration, 0, 0);
    assert_eq!(registration.overdue(at(5_999)).count(), 0);
    assert_eq!(registration.overdue(at(6_000)).collect::<Vec<_>>(), [0]);
    let refused = ServerResponse::Refused { code: 1, remark: "crc32 not match".to_owned() };
    let why = "refused with code 1: crc32 not match".to_owned();
    assert_eq!(
        registration.answered(0, first.opaque, refused, at(0)),
        Some(StateChange::Failing { why, for_ms: 0 })
    );
    assert_eq!(registration.failing(), ["ns1:9876 (refused with code 1: crc32 not match)"]);
    assert_eq!(registration.next(0, V1, at(999)), Action::Wait);
    assert_eq!(sent(&mut registration, 0, V1, 1_000).what, ServerRequest::Register);
}

/// A name server that goes on failing is told again, once a minute, with how long it has; one that comes back is news.
#[test]
fn a_name_server_that_stays_away_is_told_again() {
    let mut registration = two(Options::default());
    let mut told = Vec::new();
    let mut now = 0;
    while now < 200_000 {
        if registration.next(0, V1, at(now)) == Action::Connect
            && let Some(StateChange::Failing { for_ms, .. }) =
                registration.lost(0, "refused", at(now))
        {
            told.push((now, for_ms));
        }
        now += 500;
    }
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|(at, for_ms)| at == for_ms), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= TELL_AGAIN_MS), "{told:?}");
    assert!(!registration.is_registered(0) && registration.failing().len() == 1);
    let first = join(&mut registration, 0, now + 20_000);
    let change = registration.answered(0, first.opaque, accepted(), at(now + 20_000));
    assert_eq!(change, Some(StateChange::Registered));
    assert!(registration.is_registered(0) && registration.failing().is_empty());
}

/// At the end the broker says goodbye where it is connected and does not try where it is not.
#[test]
fn unregistration() {
    let mut registration = two(Options::default());
    let first = join(&mut registration, 0, 0);
    registration.answered(0, first.opaque, accepted(), at(0));
    registration.stop();
    assert_eq!(registration.next(1, V1, at(0)), Action::Done);
    let bye = sent(&mut registration, 0, V2, 0);
    assert_eq!(bye.what, ServerRequest::Unregister);
    assert!(!registration.is_closed());
    assert_eq!(registration.overdue(at(1_500)).collect::<Vec<_>>(), [0]);
    registration.answered(
        0,
        bye.opaque,
        ServerResponse::Refused { code: 3, remark: String::new() },
        at(10),
    );
    assert!(registration.is_closed());
    assert_eq!(registration.next(0, V1, at(10)), Action::Done);
}

/// What the first name server says counts; what it does not say, the next one may.
#[test]
fn answers_are_merged() {
    let mut registration = two(Options::default());
    let orders: BTreeMap<String, String> = [("t".to_owned(), "broker-a:4".to_owned())].into();
    let one = Learned { master_addr: Some("m1".to_owned()), ..Learned::default() };
    let other = Learned {
        master_addr: Some("m2".to_owned()),
        ha_server_addr: Some("h2".to_owned()),
        order_topics: Some(orders.clone()),
    };
    for (index, learned) in [(1, other), (0, one)] {
        let first = join(&mut registration, index, 0);
        registration.answered(
            index,
            first.opaque,
            ServerResponse::Accepted { changed: true, learned },
            at(0),
        );
    }
    let merged = registration.learned();
    assert_eq!(merged.master_addr.as_deref(), Some("m1"));
    assert_eq!(merged.ha_server_addr.as_deref(), Some("h2"));
    assert_eq!(merged.order_topics, Some(orders));
    registration.lost(1, "gone", at(1));
    assert_eq!(registration.learned().order_topics, None);
}

/// Registers one name server to the end.
fn registered(registration: &mut Registration, index: usize, now: Millis) {
    let send = join(registration, index, now);
    let change = registration.answered(index, send.opaque, accepted(), at(now));
    assert_eq!(change, Some(StateChange::Registered));
}

#[test]
fn name_servers_come_and_go() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let own = Options { own_last: true, ..Options::default() };
    let mut registration = Registration::new(own, &names(&["ns1:9876", "own:9876"]), at(0));
    registered(&mut registration, 0, 0);
    registered(&mut registration, 1, 0);
    // One more, and the first one is one no more; the one inside always is.
    assert_eq!(registration.set_servers(&names(&["ns2:9876"]), at(10)), [2]);
    assert!(registration.set_servers(&names(&["ns2:9876"]), at(10)).is_empty());
    let goodbye = sent(&mut registration, 0, V1, 20);
    assert_eq!(goodbye.what, ServerRequest::Unregister);
    assert_eq!(registration.registered_count(), 1, "that of this process");
    assert!(!registration.is_connected(0) && registration.is_connected(1));
    assert_eq!(registration.answered(0, goodbye.opaque, accepted(), at(30)), None);
    assert_eq!(registration.next(0, V1, at(30)), Action::Done);
    registered(&mut registration, 2, 40);
    assert_eq!(registration.registered_count(), 2);
    // The place that is free is taken again.
    assert_eq!(registration.set_servers(&names(&["ns2:9876", "ns1:9876"]), at(50)), [0]);
    registered(&mut registration, 0, 50);
    // One that is not connected is given up at once.
    assert_eq!(registration.lost(2, "away", at(60)), Some(failing("away")));
    assert!(registration.set_servers(&names(&["ns1:9876"]), at(61)).is_empty());
    assert!(registration.failing().is_empty());
    assert_eq!(registration.next(2, V1, at(5_000)), Action::Done);
    registration.stop();
    assert!(!registration.is_closed());
}

fn failing(why: &str) -> StateChange {
    StateChange::Failing { why: why.to_owned(), for_ms: 0 }
}
