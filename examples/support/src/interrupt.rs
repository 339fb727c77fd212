//! Ctrl-C and SIGTERM as a flag that a training loop looks at.

/// Set by the first Ctrl-C or SIGTERM; the second ends the process at once.
#[derive(Debug, Clone)]
pub struct Interrupt;

impl Interrupt {
    /// Takes over Ctrl-C and SIGTERM for the rest of the process.
    pub fn install() -> anyhow::Result<Self> {
        todo!()
    }
    /// True once the user has asked to stop.
    pub fn requested(&self) -> bool {
        todo!()
    }
}
