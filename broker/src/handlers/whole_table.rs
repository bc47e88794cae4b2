//! Answers that name a whole table: GET_ALL_TOPIC_CONFIG, GET_ALL_SUBSCRIPTIONGROUP_CONFIG. Served by the control owner.
//!
//! The body of a version is encoded once, by one task that lets others run in between, and shared by all who ask; who
//! asks while it is encoded waits for the next one.

use crate::{
    control::{plane::ControlPlane, table_answer::TableAnswer},
    response::{Responder, Response},
    worker::Worker,
};
use std::rc::Rc;

/// Answers with all topics.
pub fn all_topics(worker: &Rc<Worker>, plane: &ControlPlane, responder: Responder) {
    serve(worker, plane, responder, |plane| &plane.all_topics);
}

/// Answers with all groups.
pub fn all_groups(worker: &Rc<Worker>, plane: &ControlPlane, responder: Responder) {
    serve(worker, plane, responder, |plane| &plane.all_groups);
}

type Of<V> = fn(&ControlPlane) -> &TableAnswer<V>;

fn serve<V: 'static>(
    worker: &Rc<Worker>,
    plane: &ControlPlane,
    responder: Responder,
    answer_of: Of<V>,
) {
    let answer = answer_of(plane);
    answer.asked_ms.set(worker.executor.now());
    let (table, version) = answer.table(&plane.control.borrow());
    let current = answer.body.borrow().current(&table, version);
    if let Some(body) = current {
        return plane.answer_durably(worker, responder, Response::Shared(body));
    }
    answer.waiting.borrow_mut().push(responder);
    if !answer.building.replace(true) {
        worker.executor.spawn(build(Rc::clone(worker), answer_of));
    }
}

/// Builds bodies until nobody waits for one.
async fn build<V: 'static>(worker: Rc<Worker>, answer_of: Of<V>) {
    let Some(plane) = &worker.control else { return };
    let answer = answer_of(plane);
    loop {
        let waiting = answer.waiting.take();
        if waiting.is_empty() {
            return answer.building.set(false);
        }
        let (table, version) = answer.table(&plane.control.borrow());
        loop {
            let stale = answer.body.borrow().stale_buckets(&table);
            if stale.is_empty() {
                break;
            }
            for bucket in stale {
                answer.body.borrow_mut().encode_bucket(&table, bucket);
                if worker.executor.budget_spent() {
                    worker.executor.yield_now().await;
                }
            }
        }
        let built = answer.body.borrow_mut().assemble(&table, version);
        for responder in waiting {
            let response = match &built {
                Ok(body) => Response::Shared(body.clone()),
                Err(refusal) => refusal.clone().into(),
            };
            plane.answer_durably(&worker, responder, response);
        }
    }
}
