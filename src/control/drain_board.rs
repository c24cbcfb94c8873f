//! What a process that drains after an upgrade says of its drain: a file in memory, which its successor reads. So
//! whoever looks at the process in charge sees both.
//!
//! The successor opens the file before it takes over, and so never mistakes another process for its predecessor. The
//! times in it are of the monotonic clock, which both processes have in common.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::admin::DrainFigures;

/// The file of this process.
#[derive(Debug)]
pub struct DrainBoard(Option<File>);

/// The file of the predecessor.
#[derive(Debug)]
pub(super) struct PredecessorBoard(File);

impl DrainBoard {
    /// An empty one. Without memory for it, the successor shows nothing.
    pub fn new() -> DrainBoard {
        DrainBoard(memfd_create(NAME, MemfdFlags::CLOEXEC).map(File::from).ok())
    }

    /// From now on it stands so.
    pub fn say(&self, figures: &DrainFigures) {
        if let Some(file) = &self.0 {
            let _ = file.write_all_at(&written(figures), 0);
        }
    }
}

impl Default for DrainBoard {
    fn default() -> DrainBoard {
        DrainBoard::new()
    }
}

/// A drain that is over leaves nothing to show.
impl Drop for DrainBoard {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = file.set_len(0);
        }
    }
}

impl PredecessorBoard {
    /// That of the process with this number. `None`: it has none, or belongs to somebody else.
    pub(super) fn of(pid: u32) -> Option<PredecessorBoard> {
        PredecessorBoard::find(pid).ok().flatten()
    }

    fn find(pid: u32) -> io::Result<Option<PredecessorBoard>> {
        let name = format!("/memfd:{NAME} (deleted)");
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // A descriptor may have been closed meanwhile.
            let Ok(entry) = entry else { continue };
            if fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&name)) {
                return File::open(entry.path()).map(|file| Some(PredecessorBoard(file)));
            }
        }
        Ok(None)
    }

    /// What it has said. `None`: it does not drain yet, has ended, or has said nothing for [`SILENCE_MS`].
    pub(super) fn figures(&self, now_ms: u64) -> Option<DrainFigures> {
        let mut bytes = [0; BYTES];
        let count = self.0.read_at(&mut bytes, 0).ok()?;
        let figures = read(bytes.get(..count)?)?;
        (now_ms < figures.told_ms.saturating_add(SILENCE_MS)).then_some(figures)
    }
}

/// The version of the format, the numbers, and their sum: a reader in the middle of a write finds another one.
fn written(figures: &DrainFigures) -> [u8; BYTES] {
    let DrainFigures { told_ms, requests, tunnels, deadline_ms, oldest_ms } = *figures;
    let numbers = [told_ms, requests, tunnels, deadline_ms, oldest_ms];
    let sum = numbers.iter().fold(VERSION, |sum, number| sum.wrapping_add(*number));
    let mut bytes = [0; BYTES];
    let all = [VERSION].into_iter().chain(numbers).chain([sum]);
    bytes.chunks_exact_mut(8).zip(all).for_each(|(place, number)| {
        place.copy_from_slice(&number.to_be_bytes());
    });
    bytes
}

fn read(bytes: &[u8]) -> Option<DrainFigures> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let mut numbers = [0; NUMBERS];
    for (number, place) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_be_bytes(place.try_into().ok()?);
    }
    let [VERSION, told_ms, requests, tunnels, deadline_ms, oldest_ms, _] = numbers else { return None };
    let figures = DrainFigures { told_ms, requests, tunnels, deadline_ms, oldest_ms };
    (written(&figures) == *bytes).then_some(figures)
}

/// The name of the file in `/proc/PID/fd`.
const NAME: &str = "realchat-gateway-drain";
/// Another format would have another number.
const VERSION: u64 = 0x7263_6477_0000_0001;
const NUMBERS: usize = 7;
const BYTES: usize = 8 * NUMBERS;
/// How long a process that is alive says nothing at most, in milliseconds: it speaks every second.
const SILENCE_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: DrainFigures =
        DrainFigures { told_ms: 1_000, requests: 2, tunnels: u64::MAX, deadline_ms: 31_000, oldest_ms: 0 };

    #[test]
    fn what_is_said_is_read_back_until_the_drain_is_over_or_nobody_speaks() {
        let board = DrainBoard::new();
        let reader = PredecessorBoard::of(std::process::id()).expect("our own");
        assert_eq!(reader.figures(1_000), None, "nothing is said yet");
        board.say(&FIGURES);
        assert_eq!(reader.figures(1_500), Some(FIGURES));
        assert_eq!(reader.figures(1_000 + SILENCE_MS), None, "it has ended without a word");
        board.say(&DrainFigures { told_ms: 7_000, ..FIGURES });
        assert_eq!(reader.figures(7_000).map(|figures| figures.told_ms), Some(7_000));
        drop(board);
        assert_eq!(reader.figures(7_000), None, "the drain is over");
    }

    #[test]
    fn what_nobody_has_written_whole_is_nothing() {
        let whole = written(&FIGURES);
        for cut in 0..BYTES {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
            let mut torn = whole;
            torn[cut] ^= 1;
            assert_eq!(read(&torn), None, "torn at {cut}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_has_none() {
        assert!(PredecessorBoard::of(u32::MAX).is_none());
    }
}
