//! What a request touches: resources and what it does with them. Made by a server from a request's header and body, before it
//! is served.

use crate::{DLQ_PREFIX, RETRY_PREFIX};
use std::fmt;

/// What somebody does with a resource. Names are Java's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Whatever there is.
    All,
    /// Send.
    Pub,
    /// Consume.
    Sub,
    /// Make.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
    /// Look at one.
    Get,
    /// Look at all.
    List,
}

impl Action {
    /// All of them, in Java's order.
    pub const ALL: [Action; 8] = [
        Action::All,
        Action::Pub,
        Action::Sub,
        Action::Create,
        Action::Update,
        Action::Delete,
        Action::Get,
        Action::List,
    ];

    /// This action alone, as a list.
    pub const fn alone(self) -> &'static [Action] {
        match self {
            Action::All => &[Action::All],
            Action::Pub => &[Action::Pub],
            Action::Sub => &[Action::Sub],
            Action::Create => &[Action::Create],
            Action::Update => &[Action::Update],
            Action::Delete => &[Action::Delete],
            Action::Get => &[Action::Get],
            Action::List => &[Action::List],
        }
    }

    /// Name as Java writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Action::All => "All",
            Action::Pub => "Pub",
            Action::Sub => "Sub",
            Action::Create => "Create",
            Action::Update => "Update",
            Action::Delete => "Delete",
            Action::Get => "Get",
            Action::List => "List",
        }
    }

    /// The action of a name, in whatever case.
    pub fn of(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name().eq_ignore_ascii_case(name.trim()))
    }
}

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// The cluster: what concerns no single topic or group.
    Cluster,
}

impl ResourceKind {
    /// Name as Java writes it.
    pub const fn name(self) -> &'static str {
        match self {
            ResourceKind::Topic => "Topic",
            ResourceKind::Group => "Group",
            ResourceKind::Cluster => "Cluster",
        }
    }
}

/// One topic, group or cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Resource<'a> {
    /// A topic; one that holds retries of a group is that group.
    pub fn topic(name: &'a str) -> Resource<'a> {
        match name.strip_prefix(RETRY_PREFIX) {
            Some(group) => Resource::group(group),
            None => Resource { kind: ResourceKind::Topic, name },
        }
    }

    /// A group.
    pub fn group(name: &'a str) -> Resource<'a> {
        let name = name.strip_prefix(RETRY_PREFIX).unwrap_or(name);
        Resource { kind: ResourceKind::Group, name }
    }

    /// A cluster.
    pub const fn cluster(name: &'a str) -> Resource<'a> {
        Resource { kind: ResourceKind::Cluster, name }
    }

    /// As 5.x sees it: a topic of dead letters is its group, too.
    pub(crate) fn with_dead_letters(self) -> Resource<'a> {
        match (self.kind, self.name.strip_prefix(DLQ_PREFIX)) {
            (ResourceKind::Topic, Some(group)) => Resource::group(group),
            _ => self,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

/// One resource and what is done with it: any one of these actions suffices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The resource.
    pub resource: Resource<'a>,
    /// What is done; not empty.
    pub actions: &'static [Action],
}

/// Everything that a request needs; all of it must be allowed.
#[derive(Debug, Default)]
pub struct Needs<'a> {
    /// It administers. In 4.9's rules an administrator's account is what it takes; in 5.x's the resources say.
    pub admin: bool,
    /// It is about users and policies, whose passwords and rights are worth more than all else: where policies do not decide
    /// (5.x without authorization) a super user is what it takes.
    pub users: bool,
    first: [Option<Need<'a>>; 2],
    more: Vec<Need<'a>>,
}

impl<'a> Needs<'a> {
    /// Those of what administers.
    pub fn of_admin() -> Needs<'a> {
        Needs { admin: true, ..Needs::default() }
    }

    /// Adds one. The first two take no memory of their own.
    pub fn add(&mut self, resource: Resource<'a>, actions: &'static [Action]) {
        let need = Need { resource, actions };
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(need),
            None => self.more.push(need),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Need<'a>> {
        self.first.iter().flatten().chain(&self.more)
    }

    /// Whether it touches nothing.
    pub fn is_empty(&self) -> bool {
        self.first.iter().all(Option::is_none)
    }
}
