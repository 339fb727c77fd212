//! Ctrl-C and SIGTERM as a flag that a training loop looks at.

use anyhow::{Context, Result};
use signal_hook::low_level::exit;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What a shell calls a process that Ctrl-C ended.
const STATUS: i32 = 130;

/// Set by the first Ctrl-C or SIGTERM; the second ends the process at once. The default is a flag
/// that nothing sets.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Runs `job` with Ctrl-C and SIGTERM taken over; possible once in a process, which ends here with
    /// exit status 130 if the user asked to stop.
    pub fn during(job: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let interrupt = Self::default();
        let seen = interrupt.clone();
        ctrlc::set_handler(move || {
            if seen.0.swap(true, Ordering::SeqCst) {
                // With no destructors: libtorch's would meet threads that still compute.
                exit(STATUS);
            }
            eprintln!("\nstopping after this step (again to stop at once)");
        })
        .context("cannot take over Ctrl-C")?;
        job(&interrupt)?;
        if interrupt.requested() {
            exit(STATUS);
        }
        Ok(())
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
    use std::{
        env,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        thread::sleep,
        time::Duration,
    };

    const CHILD: &str = "EXAMPLES_SUPPORT_INTERRUPTED";

    /// This test again, in a process of its own.
    fn child(signals: &[&str]) -> Option<i32> {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "interrupt::tests::the_first_stops_and_the_second_ends",
            ])
            .env(CHILD, signals.len().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut until = |text: &str| lines.any(|line| line.unwrap().contains(text));
        assert!(until("begun"));
        for signal in signals {
            let id = child.id().to_string();
            assert!(Command::new("kill").args([*signal, &id[..]]).status().unwrap().success());
            assert!(*signal != signals[0] || until("stopping after this step"));
        }
        child.wait().unwrap().code()
    }

    #[test]
    fn the_first_stops_and_the_second_ends() {
        if let Ok(signals) = env::var(CHILD) {
            return Interrupt::during(|interrupt| {
                eprintln!("begun");
                while !interrupt.requested() || signals == "2" {
                    sleep(Duration::from_millis(5));
                }
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(child(&["-TERM"]), Some(STATUS));
        assert_eq!(child(&["-INT", "-TERM"]), Some(STATUS));
    }
}
