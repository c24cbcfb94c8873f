//! What a gateway says of its upgrades: a file in memory, which whoever may signal the process finds among its open
//! files. That it has one tells a gateway from another program, even if its binary was replaced meanwhile; and no path
//! has to be configured, cleaned up or guarded.
//!
//! ```text
//! realchat-gateway 1     what it is
//! 2 failed exit status 2 how many upgrades were begun, and how it stands with the last one
//! .                      the end: a reader in the middle of a write finds none
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// The file of this process. The control thread writes it.
#[derive(Debug)]
pub struct UpgradeBoard {
    /// `None`: the kernel gives none, and nobody can wait for an upgrade.
    file: Option<File>,
    last: Mutex<Notice>,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Upgrades that were begun.
    pub begun: u64,
    /// How it stands.
    pub stage: Stage,
}

/// How it stands with the upgrades of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The process serves; no upgrade was begun.
    Serving,
    /// A new process starts.
    Begun,
    /// The last upgrade has failed for this reason, and the process goes on.
    Failed(String),
    /// This process has taken over, and the one of the file drains.
    Succeeded(u32),
    /// The process shuts down.
    Ending,
}

/// The file of another process. It tells what that process has said last, even when it has ended.
#[derive(Debug)]
pub struct Reader(File);

impl UpgradeBoard {
    /// To be called when the process serves: there is no sooner sign of it.
    pub fn new() -> UpgradeBoard {
        let file = memfd_create(NAME, MemfdFlags::CLOEXEC).map(File::from).ok();
        let last = Notice { begun: 0, stage: Stage::Serving };
        let board = UpgradeBoard { file, last: Mutex::new(last.clone()) };
        board.write(&last);
        board
    }

    /// From now on it stands so.
    pub fn say(&self, stage: Stage) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.begun += u64::from(stage == Stage::Begun);
        last.stage = stage;
        self.write(&last);
    }

    fn write(&self, notice: &Notice) {
        let Some(file) = &self.file else { return };
        // Memory for so little is always there; a reader that finds no end waits for it.
        let _ = ftruncate(file, 0);
        let _ = file.write_all_at(notice.text().as_bytes(), 0);
    }
}

impl Default for UpgradeBoard {
    fn default() -> UpgradeBoard {
        UpgradeBoard::new()
    }
}

impl Reader {
    /// Finds the file of a process. `None`: it is no gateway, or does not serve yet.
    ///
    /// # Errors
    /// There is no such process, or it belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Option<Reader>> {
        let name = format!("/memfd:{NAME} (deleted)");
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // A descriptor may have been closed meanwhile.
            let Ok(entry) = entry else { continue };
            if fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&name)) {
                return File::open(entry.path()).map(|file| Some(Reader(file)));
            }
        }
        Ok(None)
    }

    /// What stands there. `None`: nothing that a gateway has written, or not yet whole.
    pub fn read(&self) -> Option<Notice> {
        let mut bytes = vec![0; BYTES_MAX];
        let count = self.0.read_at(&mut bytes, 0).ok()?;
        Notice::parse(std::str::from_utf8(&bytes[..count]).ok()?)
    }
}

impl Notice {
    fn text(&self) -> String {
        let (word, rest) = match &self.stage {
            Stage::Serving => ("serving", String::new()),
            Stage::Begun => ("begun", String::new()),
            Stage::Failed(why) => ("failed", why.replace(['\n', '\r'], " ")),
            Stage::Succeeded(pid) => ("succeeded", pid.to_string()),
            Stage::Ending => ("ending", String::new()),
        };
        let mut line = format!("{} {word} {rest}", self.begun);
        let mut end = line.len().min(BYTES_MAX - HEAD.len() - END.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        format!("{HEAD}{line}{END}")
    }

    fn parse(text: &str) -> Option<Notice> {
        let line = text.strip_prefix(HEAD)?.strip_suffix(END)?;
        let mut words = line.splitn(3, ' ');
        let begun = words.next()?.parse().ok()?;
        let (word, rest) = (words.next()?, words.next()?);
        let stage = match word {
            "serving" => Stage::Serving,
            "begun" => Stage::Begun,
            "failed" => Stage::Failed(rest.to_owned()),
            "succeeded" => Stage::Succeeded(rest.parse().ok()?),
            "ending" => Stage::Ending,
            _ => return None,
        };
        Some(Notice { begun, stage })
    }
}

/// The name of the file in `/proc/PID/fd`.
const NAME: &str = "realchat-gateway-upgrades";
/// The first line. Another version of the format would have another number.
const HEAD: &str = "realchat-gateway 1\n";
/// The last line.
const END: &str = "\n.\n";
/// The size of the file. Over it: the reason of a failure is cut off.
const BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_back_and_the_latest_word_holds() {
        let board = UpgradeBoard::new();
        let reader = Reader::of(std::process::id()).expect("our own").expect("a file");
        let stands = |begun, stage| assert_eq!(reader.read(), Some(Notice { begun, stage }));
        stands(0, Stage::Serving);
        board.say(Stage::Begun);
        stands(1, Stage::Begun);
        let why = format!("exit status: 2: {}", "a: b; ".repeat(100));
        board.say(Stage::Failed(why.clone()));
        stands(1, Stage::Failed(why));
        board.say(Stage::Begun);
        board.say(Stage::Succeeded(77));
        stands(2, Stage::Succeeded(77));
        board.say(Stage::Ending);
        drop(board);
        stands(2, Stage::Ending);
    }

    #[test]
    fn a_reason_stays_one_line_within_its_bound() {
        let text = Notice { begun: 1, stage: Stage::Failed("ü\n".repeat(BYTES_MAX)) }.text();
        assert!(text.len() <= BYTES_MAX && text.lines().count() == 3, "{}", text.len());
        assert!(Notice::parse(&text).is_some());
    }

    #[test]
    fn what_no_gateway_has_written_is_nothing() {
        let whole = Notice { begun: 12, stage: Stage::Failed("why not".to_owned()) }.text();
        for cut in 0..whole.len() {
            assert_eq!(Notice::parse(&whole[..cut]), None, "cut at {cut}");
        }
        for text in ["", "realchat-gateway 1\nx begun \n.\n", "realchat-gateway 1\n1 succeeded x\n.\n"] {
            assert_eq!(Notice::parse(text), None, "{text}");
        }
    }
}
