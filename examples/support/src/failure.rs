//! How an example ends that could not do what it was asked to.

use anyhow::Error;
use std::fmt;

/// An error as `main` returns it: its causes on one line, and no backtrace even where
/// `RUST_BACKTRACE` is set, as what is wrong is in the user's files or options.
pub struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(error)
    }
}

/// What the standard library prints of it.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut said = String::new();
        for cause in self.0.chain().map(ToString::to_string) {
            // Errors of the losses hold the text of their source.
            if said.is_empty() {
                said = cause;
            } else if !said.ends_with(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_on_one_line_and_said_once() {
        let error = Error::msg("got 2").context("ce: got 2").context("--loss ce");
        assert_eq!(format!("{:?}", Failure::from(error)), "--loss ce: ce: got 2");
    }
}
