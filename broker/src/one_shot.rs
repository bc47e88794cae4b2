//! A value that one task waits for and somebody else sets, both on one worker: the end of an administrative step.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// A value to come. Clones share it.
pub struct OneShot<T> {
    state: Rc<RefCell<State<T>>>,
}

struct State<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

impl<T> Clone for OneShot<T> {
    fn clone(&self) -> Self {
        OneShot { state: Rc::clone(&self.state) }
    }
}

impl<T> Default for OneShot<T> {
    fn default() -> Self {
        OneShot { state: Rc::new(RefCell::new(State { value: None, waiter: None })) }
    }
}

impl<T> OneShot<T> {
    /// Sets the value and wakes who waits for it.
    pub fn set(&self, value: T) {
        let waiter = {
            let mut state = self.state.borrow_mut();
            state.value = Some(value);
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Waits for the value and takes it. One task waits.
    pub async fn wait(&self) -> T {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            match state.value.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    state.waiter = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::block_on;

    #[test]
    fn a_value_that_is_there_is_not_waited_for() {
        let value = OneShot::default();
        value.clone().set(7);
        assert_eq!(block_on(value.wait()), Some(7));
    }
}
