//! Progress bars on a terminal, plain lines elsewhere.

/// The progress of one training run.
#[derive(Debug)]
pub struct Progress;

impl Progress {
    /// Progress over `total_epochs` epochs.
    pub fn new(total_epochs: usize) -> Self {
        todo!()
    }
    /// Epoch `n` (1-based) with `batches` batches begins.
    pub fn epoch(&mut self, n: usize, batches: usize) {
        todo!()
    }
    /// Another pass inside the epoch, such as validation, begins.
    pub fn phase(&mut self, name: &str, batches: usize) {
        todo!()
    }
    /// `done` batches of the current pass are done.
    pub fn batch(&mut self, done: usize, message: &str) {
        todo!()
    }
    /// One line that stays (standard output).
    pub fn line(&self, text: &str) {
        todo!()
    }
    /// Takes the bars away.
    pub fn finish(&mut self) {
        todo!()
    }
}
