//! Progress bars on a terminal, plain lines elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};

/// Time between plain lines inside an epoch.
const INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a run: bars on standard error if that is a terminal, else a line every ten
/// seconds. What [`Progress::line`] prints goes to standard output either way.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    first: Option<usize>,
    epoch: usize,
    phase: String,
    batches: usize,
    // True while the batches of the current phase count towards the epoch.
    training: bool,
    started: Instant,
    spoke: Cell<Instant>,
    bars: Option<Bars>,
}

#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    epochs: ProgressBar,
    batches: ProgressBar,
}

impl Progress {
    /// Progress over `total_epochs` epochs.
    pub fn new(total_epochs: usize) -> Self {
        Self::with_bars(total_epochs, std::io::stderr().is_terminal())
    }

    fn with_bars(total: usize, bars: bool) -> Self {
        let bars = bars.then(|| {
            let all = MultiProgress::new();
            let bar = |template: &str| {
                let style = ProgressStyle::with_template(template).expect("a valid template");
                let bar = ProgressBar::new(0).with_style(style.progress_chars("━━─"));
                all.add(bar)
            };
            let epochs = bar("{prefix:>12} {bar:30.green} {msg}");
            let batches = bar("{prefix:>12} {bar:30.cyan} {pos}/{len} {msg}");
            Bars { all, epochs, batches }
        });
        let now = Instant::now();
        Self {
            total,
            first: None,
            epoch: 0,
            phase: String::new(),
            batches: 0,
            training: false,
            started: now,
            spoke: Cell::new(now),
            bars,
        }
    }

    /// Epoch `n` (from 1; a resumed run begins later) with `batches` batches begins.
    pub fn epoch(&mut self, n: usize, batches: usize) {
        if self.first.is_none() {
            self.first = Some(n);
            self.started = Instant::now();
        }
        self.epoch = n;
        self.training = true;
        self.enter("train", batches);
    }

    /// Another pass inside the epoch, such as validation, begins.
    pub fn phase(&mut self, name: &str, batches: usize) {
        self.training = false;
        self.enter(name, batches);
    }

    fn enter(&mut self, phase: &str, batches: usize) {
        self.phase = phase.to_owned();
        self.batches = batches;
        if let Some(bars) = &self.bars {
            bars.epochs.set_length(1000 * self.total.max(1) as u64);
            bars.epochs.set_prefix(format!("epoch {}/{}", self.epoch, self.total));
            bars.batches.reset();
            bars.batches.set_length(batches as u64);
            bars.batches.set_prefix(self.phase.clone());
            bars.batches.set_message("");
        }
        self.show(0, "");
    }

    /// `done` batches of the current pass are done; `message` shows losses, speed and the like.
    pub fn batch(&mut self, done: usize, message: &str) {
        self.show(done, message);
    }

    fn show(&mut self, done: usize, message: &str) {
        let part = match (self.training, self.batches) {
            (false, _) | (true, 0) => f64::from(u8::from(!self.training)),
            (true, batches) => done as f64 / batches as f64,
        };
        let epochs = self.epoch.saturating_sub(1) as f64 + part;
        let elapsed = self.started.elapsed();
        let before = self.first.unwrap_or(1) - 1;
        let left = eta(elapsed, epochs - before as f64, (self.total - before) as f64);
        if let Some(bars) = &self.bars {
            bars.epochs.set_position((1000. * epochs) as u64);
            bars.epochs.set_message(format!("{} elapsed, {left} left", clock(elapsed)));
            bars.batches.set_position(done as u64);
            bars.batches.set_message(message.to_owned());
        } else if done > 0 && self.spoke.get().elapsed() >= INTERVAL {
            self.spoke.set(Instant::now());
            println!(
                "epoch {}/{} {} {done}/{} {message} ({left} left)",
                self.epoch, self.total, self.phase, self.batches
            );
        }
    }

    /// Prints a line that stays, above the bars; one per epoch is the custom.
    pub fn line(&self, text: &str) {
        self.spoke.set(Instant::now());
        match &self.bars {
            Some(bars) => bars.all.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.batches.finish_and_clear();
            bars.epochs.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The progress of one pass over files, such as an evaluation: a bar on standard error if that is a
/// terminal, else a line there every ten seconds.
#[derive(Debug)]
pub struct Pass {
    name: String,
    total: usize,
    started: Instant,
    spoke: Cell<Instant>,
    bar: Option<ProgressBar>,
}

impl Pass {
    /// A pass over `total` things; `name` says what is done to them.
    pub fn new(name: &str, total: usize) -> Self {
        Self::with_bar(name, total, std::io::stderr().is_terminal())
    }

    fn with_bar(name: &str, total: usize, bar: bool) -> Self {
        let bar = bar.then(|| {
            let template = "{prefix:>12} {bar:30.cyan} {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            let bar = ProgressBar::new(total as u64).with_style(style.progress_chars("━━─"));
            bar.set_prefix(name.to_owned());
            bar
        });
        let now = Instant::now();
        Self { name: name.to_owned(), total, started: now, spoke: Cell::new(now), bar }
    }

    /// So many of them are done.
    pub fn done(&self, done: usize) {
        let left = eta(self.started.elapsed(), done as f64, self.total as f64);
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(format!("{left} left"));
        } else if self.spoke.get().elapsed() >= INTERVAL {
            self.spoke.set(Instant::now());
            eprintln!("{} {done}/{} ({left} left)", self.name, self.total);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time left, judged from the share done; `?` before the first batch.
fn eta(elapsed: Duration, done: f64, total: f64) -> String {
    if done <= 0. {
        return "?".to_owned();
    }
    clock(elapsed.mul_f64(((total - done) / done).max(0.)))
}

/// `7s`, `3m07s`, `2h05m`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_and_eta() {
        assert_eq!(clock(Duration::from_secs(7)), "7s");
        assert_eq!(clock(Duration::from_secs(187)), "3m07s");
        assert_eq!(clock(Duration::from_secs(7500)), "2h05m");
        assert_eq!(eta(Duration::from_secs(30), 0., 10.), "?");
        assert_eq!(eta(Duration::from_secs(30), 2.5, 10.), "1m30s");
        assert_eq!(eta(Duration::from_secs(30), 10., 10.), "0s");
    }

    #[test]
    fn a_pass_counts_with_and_without_a_bar() {
        for bar in [false, true] {
            let pass = Pass::with_bar("read", 3, bar);
            (0..=3).for_each(|done| pass.done(done));
            assert_eq!(pass.bar.as_ref().map(ProgressBar::position), bar.then_some(3));
        }
    }

    #[test]
    fn both_ways_go_through_a_resumed_run() {
        for bars in [false, true] {
            let mut progress = Progress::with_bars(3, bars);
            for epoch in 2..=3 {
                progress.epoch(epoch, 2);
                progress.batch(1, "loss 1.5");
                progress.batch(2, "loss 1.2");
                progress.phase("val", 0);
                progress.line("");
            }
            progress.finish();
        }
    }
}
