//! Ctrl-C and SIGTERM as a flag that a training loop looks at.

use anyhow::{Context, Result};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set by the first Ctrl-C or SIGTERM; the second ends the process at once (exit status 130). The
/// default is a flag that nothing sets.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C and SIGTERM for the rest of the process; possible once.
    pub fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            eprintln!("\nstopping after this step (again to stop at once)");
        })
        .context("cannot take over Ctrl-C")?;
        Ok(Self(flag))
    }

    /// Sets the flag, as Ctrl-C would.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True once the user has asked to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{process::Command, thread::sleep, time::Duration};

    #[test]
    fn a_signal_sets_the_flag() {
        let interrupt = Interrupt::install().unwrap();
        assert!(!interrupt.requested());
        assert!(Interrupt::install().is_err());
        let id = std::process::id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        for _ in 0..200 {
            if interrupt.requested() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("the signal did not arrive");
    }
}
