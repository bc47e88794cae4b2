//! Who waits for the body of a whole table, beside that body (`TableBody`). `handlers::whole_table` answers from it.

use super::{Control, SharedTable, table_body::TableBody};
use crate::{error::Refusal, one_shot::OneShot, table_memory::TableMemory};
use proto::body::{DataVersion, SubscriptionGroupConfig, TopicConfig};
use remoting::SharedBody;
use runtime::Uptime;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// A body that nobody has asked for lately is given back, ms.
const KEPT_MS: i64 = 60_000;

/// All answers that name one table.
pub struct TableAnswer<V> {
    /// The body of the newest version that was asked for.
    pub body: RefCell<TableBody<V>>,
    /// Who gets the next body: nobody is answered with one that is older than the question.
    pub waiting: RefCell<Vec<OneShot<Result<SharedBody, Refusal>>>>,
    /// Whether a task is at work on the next body: there is one at most.
    pub building: Cell<bool>,
    /// When the body was last asked for.
    pub asked_ms: Cell<Uptime>,
    view: fn(&Control) -> (&SharedTable<V>, DataVersion),
}

impl<V> TableAnswer<V> {
    /// Answers from the table that `view` shows.
    pub fn new(
        body: TableBody<V>,
        view: fn(&Control) -> (&SharedTable<V>, DataVersion),
    ) -> TableAnswer<V> {
        TableAnswer {
            body: RefCell::new(body),
            waiting: RefCell::default(),
            building: Cell::new(false),
            asked_ms: Cell::default(),
            view,
        }
    }

    /// The table as it is now, and its version.
    pub fn table(&self, control: &Control) -> (SharedTable<V>, DataVersion) {
        let (table, version) = (self.view)(control);
        (table.clone(), version)
    }

    /// Housekeeping.
    pub fn tick(&self, control: &Control, now: Uptime) {
        let mut body = self.body.borrow_mut();
        if !self.building.get() {
            if now - self.asked_ms.get() > KEPT_MS {
                body.forget();
            } else {
                body.forget_stale((self.view)(control).0);
            }
        }
        body.release_former();
    }
}

/// Answers with all topics.
pub fn all_topics(memory: Rc<TableMemory>) -> TableAnswer<TopicConfig> {
    let body = TableBody::new("topicConfigTable", TopicConfig::write, memory);
    TableAnswer::new(body, |control| (control.topics().table(), control.topics().version()))
}

/// Answers with all groups.
pub fn all_groups(memory: Rc<TableMemory>) -> TableAnswer<SubscriptionGroupConfig> {
    let body = TableBody::new("subscriptionGroupTable", SubscriptionGroupConfig::write, memory);
    TableAnswer::new(body, |control| (control.groups().table(), control.groups().version()))
}
