//! The cases, by families of requests.

mod assignments;
mod batches;
mod groups;
mod locks;
mod members;
mod name_server;
mod offsets;
mod pop;
mod progress;
mod pulls;
mod queries;
mod send_back;
mod sends;
mod timers;
mod tools;
mod topics;
mod transactions;
mod unserved;

use super::case::{Case, Known};

/// A family: its name, its cases, and the differences that stay.
type Family = (&'static str, Vec<Case>, &'static [Known]);

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let families: [Family; 20] = [
        ("sends", sends::cases(), sends::KNOWN),
        ("batches", batches::cases(), batches::KNOWN),
        ("pulls", pulls::cases(), pulls::KNOWN),
        ("offsets", offsets::cases(), offsets::KNOWN),
        ("send_back", send_back::cases(), send_back::KNOWN),
        ("transactions", transactions::cases(), transactions::KNOWN),
        ("members", members::cases(), members::KNOWN),
        ("locks", locks::cases(), locks::KNOWN),
        ("topics", topics::cases(), topics::KNOWN),
        ("groups", groups::cases(), groups::KNOWN),
        ("progress", progress::cases(), progress::KNOWN),
        ("queries", queries::cases(), queries::KNOWN),
        ("timers", timers::cases(), timers::KNOWN),
        ("tools", tools::cases(), tools::KNOWN),
        ("pops", pop::taken::cases(), pop::taken::KNOWN),
        ("pop_acks", pop::acks::cases(), pop::acks::KNOWN),
        ("pop_orders", pop::orders::cases(), pop::orders::KNOWN),
        ("assignments", assignments::cases(), assignments::KNOWN),
        ("name_server", name_server::cases(), name_server::KNOWN),
        ("unserved", unserved::cases(), unserved::KNOWN),
    ];
    families.into_iter().flat_map(with_known).collect()
}

fn with_known((family, cases, known): Family) -> Vec<Case> {
    for (pattern, line, _) in known {
        let meant = cases.iter().any(|case| case.is_meant(pattern));
        assert!(meant, "no case of {family} is called {pattern}, which lists {line}");
    }
    cases.into_iter().map(|case| case.of(family, known)).collect()
}
