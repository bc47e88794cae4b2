//! How the queues of a topic are divided among the members of a group. Pure: numbers in, numbers out.
//!
//! Queues and members are numbered in their order, which all who ask see alike, so that each can be told its own part without
//! a table of who has what. Source: Apache RocketMQ 5.3.3, `AllocateMessageQueueAveragely`,
//! `AllocateMessageQueueAveragelyByCircle`, `QueryAssignmentProcessor`.

use crate::control::RequestMode;
use proto::body::MessageRequestMode;

/// A way to divide queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each member gets neighbouring queues; the first members get one more where it does not come out even.
    Averagely,
    /// Queues are dealt out in turn.
    ByCircle,
}

/// A client among the members of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many members there are.
    pub members: usize,
    /// Which of them it is; `None`: none of them.
    pub own: Option<usize>,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All queues.
    All,
    /// The queues of these numbers, ascending.
    Queues(Vec<usize>),
    /// All of each broker that has some, as one: it asks there for messages of any of them.
    WholeBrokers,
}

impl Strategy {
    /// The strategy of this name.
    pub fn of_name(name: &str) -> Option<Strategy> {
        match name {
            "AVG" => Some(Strategy::Averagely),
            "AVG_BY_CIRCLE" => Some(Strategy::ByCircle),
            _ => None,
        }
    }

    /// What member `own` of `members` gets of so many queues.
    fn numbers(self, queues: usize, members: usize, own: usize) -> Vec<usize> {
        assert!(own < members);
        match self {
            Strategy::Averagely => {
                let (each, rest) = (queues / members, queues % members);
                let start = own * each + own.min(rest);
                (start..start + each + usize::from(own < rest)).collect()
            }
            Strategy::ByCircle => (own..queues).step_by(members).collect(),
        }
    }
}

/// What a client gets of so many queues. `None`: nothing that it could go by, so it keeps what it has.
pub fn part_of(strategy: Strategy, mode: RequestMode, queues: usize, place: Place) -> Option<Part> {
    match mode.mode {
        MessageRequestMode::Pull => part_to_pull(strategy, queues, place),
        MessageRequestMode::Pop => part_to_pop(strategy, mode.pop_share_queue_num, queues, place),
    }
}

fn part_to_pull(strategy: Strategy, queues: usize, place: Place) -> Option<Part> {
    if queues == 0 || place.members == 0 {
        return None;
    }
    let numbers = place.own.map(|own| strategy.numbers(queues, place.members, own));
    Some(Part::Queues(numbers.unwrap_or_default()))
}

/// Popping members share queues: each its own, and those of the next `share` members.
fn part_to_pop(strategy: Strategy, share: i32, queues: usize, place: Place) -> Option<Part> {
    let Place { members, own } = place;
    let share = match usize::try_from(share) {
        Ok(share) if share > 0 && share + 1 < members => share,
        // With all others, or as all others.
        _ => return Some(Part::WholeBrokers),
    };
    if queues == 0 {
        return None;
    }
    let Some(own) = own else { return Some(Part::Queues(Vec::new())) };
    if members > queues {
        // Some would get none: each has one, and shares it with who has the same.
        return Some(Part::Queues(vec![own % queues]));
    }
    let sharing = (own..=own + share).map(|member| member % members);
    let mut numbers: Vec<usize> =
        sharing.flat_map(|member| strategy.numbers(queues, members, member)).collect();
    numbers.sort_unstable();
    Some(Part::Queues(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Strategy::{Averagely, ByCircle};

    const PULL: RequestMode =
        RequestMode { mode: MessageRequestMode::Pull, pop_share_queue_num: 0 };

    fn pop(pop_share_queue_num: i32) -> RequestMode {
        RequestMode { mode: MessageRequestMode::Pop, pop_share_queue_num }
    }

    fn place(members: usize, own: usize) -> Place {
        Place { members, own: Some(own) }
    }

    /// What each of the members gets, as digits.
    fn parts(strategy: Strategy, mode: RequestMode, queues: usize, members: usize) -> Vec<String> {
        let of_member = |own| match part_of(strategy, mode, queues, place(members, own)) {
            Some(Part::Queues(numbers)) => numbers.iter().map(usize::to_string).collect(),
            other => format!("{other:?}"),
        };
        (0..members).map(of_member).collect()
    }

    /// One to nine queues, one to five members, divided by hand: `members: part part ...` of one number of queues each.
    const AVERAGELY: [&str; 9] = [
        "0 | 0 - | 0 - - | 0 - - - | 0 - - - -",
        "01 | 0 1 | 0 1 - | 0 1 - - | 0 1 - - -",
        "012 | 01 2 | 0 1 2 | 0 1 2 - | 0 1 2 - -",
        "0123 | 01 23 | 01 2 3 | 0 1 2 3 | 0 1 2 3 -",
        "01234 | 012 34 | 01 23 4 | 01 2 3 4 | 0 1 2 3 4",
        "012345 | 012 345 | 01 23 45 | 01 23 4 5 | 01 2 3 4 5",
        "0123456 | 0123 456 | 012 34 56 | 01 23 45 6 | 01 23 4 5 6",
        "01234567 | 0123 4567 | 012 345 67 | 01 23 45 67 | 01 23 45 6 7",
        "012345678 | 01234 5678 | 012 345 678 | 012 34 56 78 | 01 23 45 67 8",
    ];
    const BY_CIRCLE: [&str; 9] = [
        "0 | 0 - | 0 - - | 0 - - - | 0 - - - -",
        "01 | 0 1 | 0 1 - | 0 1 - - | 0 1 - - -",
        "012 | 02 1 | 0 1 2 | 0 1 2 - | 0 1 2 - -",
        "0123 | 02 13 | 03 1 2 | 0 1 2 3 | 0 1 2 3 -",
        "01234 | 024 13 | 03 14 2 | 04 1 2 3 | 0 1 2 3 4",
        "012345 | 024 135 | 03 14 25 | 04 15 2 3 | 05 1 2 3 4",
        "0123456 | 0246 135 | 036 14 25 | 04 15 26 3 | 05 16 2 3 4",
        "01234567 | 0246 1357 | 036 147 25 | 04 15 26 37 | 05 16 27 3 4",
        "012345678 | 02468 1357 | 036 147 258 | 048 15 26 37 | 05 16 27 38 4",
    ];

    #[test]
    fn queues_are_divided_as_by_hand() {
        for (strategy, table) in [(Averagely, AVERAGELY), (ByCircle, BY_CIRCLE)] {
            for (queues, row) in (1..).zip(table) {
                for (members, expected) in (1..).zip(row.split(" | ")) {
                    let expected: Vec<String> =
                        expected.replace('-', "").split(' ').map(str::to_owned).collect();
                    let divided = parts(strategy, PULL, queues, members);
                    assert_eq!(divided, expected, "{strategy:?} {queues} {members}");
                }
            }
        }
    }

    #[test]
    fn each_queue_goes_to_one_member() {
        for strategy in [Averagely, ByCircle] {
            for (queues, members) in (1..40).flat_map(|q| (1..40).map(move |m| (q, m))) {
                let all = (0..members).flat_map(|own| strategy.numbers(queues, members, own));
                let mut all: Vec<usize> = all.collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..queues), "{strategy:?} {queues} {members}");
            }
        }
    }

    /// Java's own formula, which comes to the same.
    #[test]
    fn averages_are_those_of_java() {
        for (queues, members) in (1_usize..40).flat_map(|q| (1..40).map(move |m| (q, m))) {
            for own in 0..members {
                let rest = queues % members;
                let one_more = usize::from(rest > 0 && own < rest);
                let share = if queues <= members { 1 } else { queues / members + one_more };
                let start = own * share + if one_more == 1 { 0 } else { rest };
                let end = queues.min(start + share);
                let expected: Vec<usize> =
                    (start..end.max(start)).filter(|it| *it < queues).collect();
                assert_eq!(Averagely.numbers(queues, members, own), expected);
            }
        }
    }

    #[test]
    fn popping_members_share_with_those_behind_them() {
        let shared =
            |strategy, share, queues, members| parts(strategy, pop(share), queues, members);
        assert_eq!(shared(Averagely, 1, 4, 4), ["01", "12", "23", "03"]);
        assert_eq!(shared(Averagely, 2, 4, 4), ["012", "123", "023", "013"]);
        assert_eq!(shared(Averagely, 1, 7, 3), ["01234", "3456", "01256"]);
        assert_eq!(shared(ByCircle, 1, 7, 3), ["01346", "1245", "02356"]);
        assert_eq!(shared(ByCircle, 2, 9, 5), ["012567", "123678", "23478", "03458", "01456"]);
        // More members than queues: each has one.
        assert_eq!(shared(Averagely, 1, 2, 5), ["0", "1", "0", "1", "0"]);
        assert_eq!(shared(ByCircle, 3, 3, 5), ["0", "1", "2", "0", "1"]);
        // All share all.
        for (share, members) in
            [(0, 5), (-1, 5), (i32::MIN, 5), (4, 5), (i32::MAX, 5), (1, 2), (1, 1)]
        {
            let whole = vec!["Some(WholeBrokers)".to_owned(); members];
            assert_eq!(shared(Averagely, share, 9, members), whole, "{share} {members}");
        }
    }

    /// As Java's own test has it: nobody is without a queue, and parts are as large as they should be.
    #[test]
    fn parts_of_popping_members_are_as_large_as_they_should_be() {
        for strategy in [Averagely, ByCircle] {
            for (queues, members) in (1..17).flat_map(|q| (1..17).map(move |m| (q, m))) {
                for (own, share) in (0..members).flat_map(|o| (0..17).map(move |s| (o, s))) {
                    let part = part_of(strategy, pop(share), queues, place(members, own));
                    let share = usize::try_from(share).expect("not negative");
                    if share == 0 || share + 1 >= members {
                        assert_eq!(part, Some(Part::WholeBrokers));
                        continue;
                    }
                    let Some(Part::Queues(numbers)) = part else { panic!("{part:?}") };
                    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
                    let least = (queues / members * (share + 1)).max(1);
                    let most =
                        if queues < members { 1 } else { (queues / members + 1) * (share + 1) };
                    assert!((least..=most).contains(&numbers.len()), "{queues} {members} {share}");
                }
            }
        }
    }

    #[test]
    fn who_is_no_member_gets_none_and_where_nothing_is_known_all_stays() {
        let stranger = Place { members: 5, own: None };
        let none = Some(Part::Queues(Vec::new()));
        assert_eq!(part_of(Averagely, PULL, 4, stranger), none);
        assert_eq!(part_of(Averagely, pop(2), 9, stranger), none);
        assert_eq!(part_of(Averagely, pop(2), 4, stranger), none);
        assert_eq!(part_of(Averagely, pop(0), 4, stranger), Some(Part::WholeBrokers));
        assert_eq!(part_of(ByCircle, PULL, 0, place(5, 0)), None);
        assert_eq!(part_of(ByCircle, pop(2), 0, place(5, 0)), None);
        assert_eq!(part_of(ByCircle, pop(0), 0, place(5, 0)), Some(Part::WholeBrokers));
        let nobody = Place { members: 0, own: None };
        assert_eq!(part_of(ByCircle, PULL, 4, nobody), None);
        assert_eq!(Strategy::of_name("AVG"), Some(Averagely));
        assert_eq!(Strategy::of_name("AVG_BY_CIRCLE"), Some(ByCircle));
        assert_eq!(Strategy::of_name("CONFIG"), None);
    }
}
