//! A loop over all cores.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// `work(0)`, `work(1)`, ... `work(n - 1)` on all cores; the results in this order.
pub fn map<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(n);
    if threads <= 1 {
        return (0..n).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return done;
            }
            done.push((i, work(i)));
        }
    };
    let mut results: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let join = |handle: thread::ScopedJoinHandle<_>| match handle.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        handles.into_iter().flat_map(join).collect()
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Bytes that may be used up by several threads.
#[derive(Debug)]
pub struct Budget(AtomicUsize);

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(bytes: usize) -> Self {
        Budget(AtomicUsize::new(bytes))
    }

    /// Takes `bytes` if so many are left; which callers get some depends on who comes first.
    pub fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_does_not_fit_uses_nothing_up() {
        let budget = super::Budget::new(10);
        assert_eq!(
            [6, 5, 4, 1, 0].map(|bytes| budget.take(bytes)),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn order_is_kept() {
        for n in [0, 1, 2, 1000] {
            assert_eq!(super::map(n, |i| 3 * i), (0..n).map(|i| 3 * i).collect::<Vec<_>>());
        }
    }
}
