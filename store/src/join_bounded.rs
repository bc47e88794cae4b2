//! Several disk operations in flight for one task.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Runs all futures to their end, at most `at_once` of them at a time, and returns what they returned, in order. None is
/// dropped before its end.
pub(crate) async fn join_bounded<F: Future>(
    futures: impl IntoIterator<Item = F>,
    at_once: usize,
) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().enumerate();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut done: Vec<(usize, F::Output)> = Vec::new();
    poll_fn(|context| {
        loop {
            while running.len() < at_once {
                let Some((number, future)) = waiting.next() else { break };
                running.push((number, Box::pin(future)));
            }
            let before = running.len();
            let mut at = 0;
            while let Some((number, future)) = running.get_mut(at) {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => {
                        done.push((*number, output));
                        running.swap_remove(at);
                    }
                    Poll::Pending => at += 1,
                }
            }
            if running.is_empty() && waiting.size_hint().1 == Some(0) {
                return Poll::Ready(());
            }
            // A place that became free is taken at once; without one there is nothing to do but wait.
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::yield_now;
    use runtime::sim::block_on;
    use std::cell::Cell;

    #[test]
    fn all_run_and_few_at_once() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let one = |number: u32| {
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                for _ in 0..number % 4 {
                    yield_now().await;
                }
                running.set(running.get() - 1);
                number
            }
        };
        let numbers: Vec<u32> = (0..100).collect();
        let futures: Vec<_> = numbers.iter().map(|number| one(*number)).collect();
        assert_eq!(block_on(join_bounded(futures, 7)), Some(numbers));
        assert!((5..=7).contains(&most.get()), "some end at once");
        assert_eq!(
            block_on(join_bounded(Vec::<std::future::Ready<()>>::new(), 3)),
            Some(Vec::new())
        );
    }
}
