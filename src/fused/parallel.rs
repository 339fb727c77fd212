//! Work in chunks on libtorch's own threads, with results in the order of the chunks.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// How many units of work (an element of a cheap loss, about) a thread pays for. libtorch too shares 32 Ki elements out to two.
const PAYS: usize = 16 * 1024;

/// Runs `work` on every item, and returns the results in the items' order: the same for any number of threads.
///
/// `units` is the work of all items together.
pub(crate) fn map<I: Send, R: Send>(
    items: impl ExactSizeIterator<Item = I> + Send,
    units: usize,
    work: impl Fn(I) -> R + Sync,
) -> Vec<R> {
    map_with(items, units, || (), |(), item| work(item))
}

/// [`map`] with something for each thread to work in.
pub(crate) fn map_with<I: Send, R: Send, S>(
    items: impl ExactSizeIterator<Item = I> + Send,
    units: usize,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I) -> R + Sync,
) -> Vec<R> {
    let threads = allowed().min(units / PAYS).min(items.len());
    if threads <= 1 {
        let mut scratch = scratch();
        return items.map(|item| work(&mut scratch, item)).collect();
    }
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(items.len(), || None);
    let queue = Mutex::new(items.zip(&mut results));
    team(threads, || {
        let next = || lock(&queue).next();
        // Not for a thread that comes when all is done.
        let mut own = None;
        while let Some((item, result)) = next() {
            *result = Some(work(own.get_or_insert_with(&scratch), item));
        }
    });
    drop(queue);
    results.into_iter().flatten().collect()
}

/// libtorch's number of threads.
fn allowed() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// Calls `run` on all of libtorch's threads at once, this one among them, and waits for them. A panic of one goes on in this one.
///
/// libtorch's threads spin for a while after an operation: they begin at once, where others would wait for a core.
/// Where they cannot be had, `threads` are started.
fn team(threads: usize, run: impl Fn() + Sync) {
    let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let run = || {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(&run)) {
            lock(&panic).get_or_insert(payload);
        }
    };
    if !openmp::team(&run) {
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(run);
            }
            run();
        });
    }
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
mod openmp {
    #![allow(unsafe_code)] // a function that is found when the program runs

    use std::{
        ffi::{c_uint, c_void},
        mem,
        sync::LazyLock,
    };

    /// What compilers make of `#pragma omp parallel`: a function of GNU's runtime, which those of LLVM and Intel have too.
    type Parallel =
        unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

    /// That of the runtime that libtorch brought into this process.
    static PARALLEL: LazyLock<Option<Parallel>> = LazyLock::new(|| {
        // SAFETY: the name is a C string.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr()) };
        // SAFETY: the type of the function of that name; null is `None`.
        unsafe { mem::transmute::<*mut c_void, Option<Parallel>>(found) }
    });

    /// Whether `run`, which must not panic, was called on each thread of a team; not where there is no OpenMP.
    ///
    /// A runtime starts threads anew where the size of teams changes, so this one is as large as libtorch's, however little
    /// there is to do. A thread of a team that calls it is a team of its own.
    pub(super) fn team<F: Fn() + Sync>(run: &F) -> bool {
        unsafe extern "C" fn call<F: Fn()>(run: *mut c_void) {
            // SAFETY: the pointer below.
            let run = unsafe { &*run.cast::<F>() };
            run();
        }
        let (Some(parallel), Ok(threads)) = (*PARALLEL, super::allowed().try_into()) else {
            return false;
        };
        // SAFETY: it returns when all threads have, so `run` outlives its calls; as it is `Sync` they may be on any thread.
        unsafe { parallel(call::<F>, (&raw const *run).cast_mut().cast(), threads, 0) };
        true
    }
}

#[cfg(not(unix))]
mod openmp {
    pub(super) fn team(_: &(impl Fn() + Sync)) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// So many units that threads pay.
    const MANY: usize = 1 << 30;

    #[track_caller]
    fn assert_squares(count: usize) {
        let got = map(0..count, MANY, |i| i * i);
        assert_eq!(got, (0..count).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn results_are_in_order() {
        for count in (0..40).chain([1000, 10_007]) {
            assert_squares(count);
        }
        assert_eq!(map(0..3usize, 1, |i| i), [0, 1, 2]);
    }

    #[test]
    fn a_panic_goes_on_in_the_caller_and_threads_work_after_it() {
        for at in [0, 7, 999] {
            let work = |i| if i == at { resume_unwind(Box::new(i)) } else { i };
            let payload = catch_unwind(|| map(0..1000usize, MANY, work)).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&at));
            assert_squares(1000);
        }
    }

    #[test]
    fn items_may_have_items_of_their_own() {
        let sums = map(0..50usize, MANY, |i| map(0..i, MANY, |j| j).iter().sum::<usize>());
        assert_eq!(sums, (0..50).map(|i: usize| i * i.saturating_sub(1) / 2).collect::<Vec<_>>());
    }

    #[test]
    fn several_threads_may_call_at_once() {
        thread::scope(|scope| {
            for count in [900, 901, 902, 903] {
                scope.spawn(move || (0..20).for_each(|_| assert_squares(count)));
            }
        });
    }

    #[test]
    fn a_team_is_of_the_same_threads_each_time() {
        let before = tch::get_num_threads();
        for threads in [1, 2, 5] {
            tch::set_num_threads(threads as i32);
            let members = || {
                let seen = Mutex::new(HashSet::new());
                team(threads, || assert!(lock(&seen).insert(thread::current().id())));
                seen.into_inner().unwrap()
            };
            let first = members();
            assert!(first.len() == threads && first.contains(&thread::current().id()));
            if cfg!(target_os = "linux") {
                assert_eq!(members(), first);
            }
        }
        tch::set_num_threads(before);
    }
}
