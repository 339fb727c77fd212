//! Work in chunks on libtorch's number of threads, with results in the order of the chunks.

use std::{sync::Mutex, thread};

/// How many units of work (an element of a cheap loss, about) a thread of its own pays for.
const PAYS: usize = 32 * 1024;

/// Runs `work` on every item, and returns the results in the items' order: the same for any number of threads.
///
/// `units` is the work of all items together.
pub(super) fn map<I: Send, R: Send>(
    items: impl ExactSizeIterator<Item = I> + Send,
    units: usize,
    work: impl Fn(I) -> R + Sync,
) -> Vec<R> {
    map_with(items, units, || (), |(), item| work(item))
}

/// [`map`] with something for each thread to work in.
pub(super) fn map_with<I: Send, R: Send, S>(
    items: impl ExactSizeIterator<Item = I> + Send,
    units: usize,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I) -> R + Sync,
) -> Vec<R> {
    let allowed = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    let threads = allowed.min(units / PAYS).min(items.len());
    if threads <= 1 {
        let mut scratch = scratch();
        return items.map(|item| work(&mut scratch, item)).collect();
    }
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(items.len(), || None);
    {
        let queue = Mutex::new(items.zip(&mut results));
        let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
        let run = || {
            let mut scratch = scratch();
            while let Some((item, result)) = next() {
                *result = Some(work(&mut scratch, item));
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(run);
            }
            run();
        });
    }
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_order() {
        let got = super::map(0..1000usize, 1 << 20, |i| i * i);
        assert!(got.iter().enumerate().all(|(i, &square)| square == i * i) && got.len() == 1000);
        assert_eq!(super::map(0..3usize, 1, |i| i), [0, 1, 2]);
    }
}
