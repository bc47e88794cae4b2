//! Answers that name a whole table: GET_ALL_TOPIC_CONFIG, GET_ALL_SUBSCRIPTIONGROUP_CONFIG. Served by the control
//! owner.
//!
//! The body of a version is encoded once, by one task that lets others run in between, and shared by all who ask; who
//! asks while it is encoded waits for the next one.

use crate::{
    control::{SharedTable, plane::ControlPlane, table_answer::TableAnswer},
    error::Refusal,
    one_shot::OneShot,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use std::rc::Rc;

/// GET_ALL_TOPIC_CONFIG.
pub fn all_topics(worker: Rc<Worker>, _request: &Request<'_>) -> Answering {
    Box::pin(answer(worker, |plane| &plane.all_topics))
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
pub fn all_groups(worker: Rc<Worker>, _request: &Request<'_>) -> Answering {
    Box::pin(answer(worker, |plane| &plane.all_groups))
}

type Of<V> = fn(&ControlPlane) -> &TableAnswer<V>;

async fn answer<V: 'static>(worker: Rc<Worker>, answer_of: Of<V>) -> Result<Response, Refusal> {
    let plane = worker.control_plane();
    let answer = answer_of(plane);
    answer.asked_ms.set(worker.executor.uptime());
    let (table, version) = answer.table(&plane.control.borrow());
    let current = answer.body.borrow().current(&table, version);
    let body = match current {
        Some(body) => body,
        None => {
            let built = OneShot::default();
            answer.waiting.borrow_mut().push(built.clone());
            if !answer.building.replace(true) {
                worker.executor.spawn(build(Rc::clone(&worker), answer_of));
            }
            built.wait().await?
        }
    };
    plane.durable().await?;
    Ok(Response::Shared(body))
}

/// Builds bodies until nobody waits for one.
async fn build<V: 'static>(worker: Rc<Worker>, answer_of: Of<V>) {
    let plane = worker.control_plane();
    let answer = answer_of(plane);
    loop {
        let waiting = answer.waiting.take();
        if waiting.is_empty() {
            return answer.building.set(false);
        }
        let (table, version) = answer.table(&plane.control.borrow());
        let encoded = encode(&worker, answer, &table).await;
        let built = encoded.and_then(|()| answer.body.borrow_mut().assemble(&table, version));
        for waiter in waiting {
            waiter.set(built.clone());
        }
    }
}

/// Encodes what has changed, and lets others run in between.
async fn encode<V>(
    worker: &Worker,
    answer: &TableAnswer<V>,
    table: &SharedTable<V>,
) -> Result<(), Refusal> {
    loop {
        let stale = answer.body.borrow().stale_buckets(table);
        if stale.is_empty() {
            return Ok(());
        }
        for bucket in stale {
            answer.body.borrow_mut().encode_bucket(table, bucket)?;
            if worker.executor.budget_spent() {
                worker.executor.yield_now().await;
            }
        }
    }
}
