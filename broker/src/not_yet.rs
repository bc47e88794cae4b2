//! What this version does not serve yet and refuses: every such check and its sentence, so that who builds it finds here
//! what to take away. Nothing of it is accepted and then done differently. What attributes of topics promise is beside
//! them: `not_yet` in `control/attributes.rs`.

use crate::{control::names, error::Refusal};

/// Topics that belong to what is not served yet: what a client put there would be taken for the broker's own later.
pub fn is_internal_topic(topic: &str) -> bool {
    topic.starts_with(names::REVIVE_TOPIC_PREFIX)
}

/// Filters by classes on filter servers, which no release has any more; Java does not filter such a subscription at all.
pub fn class_filter() -> Refusal {
    Refusal::system_error("filtering by a class (classFilterMode) is not supported by this broker")
}
