//! What the cores and the access log's writer hand to each other: batches of lines, and commands.

/// Whole lines, and their number.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// A command to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterCommand {
    /// Open the file again.
    Reopen,
    /// Write what is queued, then end.
    Finish,
}
