//! Work done ahead by background threads, handed out in order.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

/// `make(0)`, `make(1)`, ... in order, each made ahead by one of several threads. Dropping it ends
/// the threads.
#[derive(Debug)]
pub struct Ahead<T> {
    workers: Vec<Receiver<T>>,
    next: usize,
    len: usize,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts `workers` threads that make `len` pieces, each thread up to `ahead` in advance. The
    /// number of threads changes nothing in what is made.
    pub fn start(
        len: usize,
        workers: usize,
        ahead: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let workers = workers.clamp(1, len.max(1));
        // Worker k makes the pieces k, k + workers, ... in turn, so the order needs no sorting.
        let start = |k: usize| {
            let (send, receive) = sync_channel(ahead.max(1));
            let make = make.clone();
            thread::spawn(move || {
                for number in (k..len).step_by(workers) {
                    if send.send(make(number)).is_err() {
                        return;
                    }
                }
            });
            receive
        };
        Ahead { workers: (0..workers).map(start).collect(), next: 0, len }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next >= self.len {
            return None;
        }
        let received = self.workers[self.next % self.workers.len()].recv();
        self.next += 1;
        Some(received.expect("no background thread panics"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.len - self.next;
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Ahead<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_leaving_early_is_allowed() {
        for workers in [1, 3, 50] {
            let all: Vec<usize> = Ahead::start(20, workers, 2, |i| 3 * i).collect();
            assert_eq!(all, (0..20).map(|i| 3 * i).collect::<Vec<_>>());
        }
        let mut some = Ahead::start(1000, 2, 1, |i| i);
        assert_eq!((some.len(), some.next(), some.len()), (1000, Some(0), 999));
        assert_eq!(Ahead::start(0, 2, 1, |i| i).next(), None);
    }

    #[test]
    #[should_panic = "no background thread panics"]
    fn a_panic_behind_is_not_the_end_of_the_data() {
        let _ = Ahead::start(2, 1, 1, |i| assert_eq!(i, 0)).count();
    }
}
