//! The subcommand `upgrade`: finds a running gateway, asks it for an upgrade, and waits until that is decided.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::pid_file;
use super::upgrade_board::{Notice, Reader, Stage};

/// Why there was no upgrade, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody was asked: the process is not one that can be upgraded.
    Unasked(String),
    /// The gateway was asked, and goes on as before or has ended.
    Failed(String),
}

/// Asks the gateway with this process id, or with the one in this file, and waits until its upgrade is decided, unless
/// told not to. Returns a line that says what has come of it.
///
/// # Errors
/// [`Refused`].
pub fn request(pid: Option<u32>, pid_file: Option<&Path>, waits: bool) -> Result<String, Refused> {
    let (key, pid) = find(pid, pid_file).map_err(Refused::Unasked)?;
    let asked = Asked::new(pid).map_err(|why| Refused::Unasked(format!("{key}: {why}")))?;
    asked.signal().map_err(|why| Refused::Unasked(format!("{key}: {why}")))?;
    if !waits {
        return Ok(format!("upgrade of process {pid} requested; see its log for the result\n"));
    }
    match asked.wait() {
        Ok(successor) => Ok(format!("process {successor} serves in place of process {pid}\n")),
        Err(why) => Err(Refused::Failed(format!("upgrade of process {pid}: {why}"))),
    }
}

/// Which process is meant, and what says so.
fn find(pid: Option<u32>, pid_file: Option<&Path>) -> Result<(String, u32), String> {
    match (pid, pid_file) {
        (Some(pid), _) => Ok(("--pid".to_owned(), pid)),
        (None, Some(path)) => {
            let key = format!("PID_FILE: {}", path.display());
            let text = fs::read_to_string(path).map_err(|error| format!("{key}: {error}"))?;
            let pid = pid_file::parse(&text).ok_or_else(|| format!("{key} contains no process id"))?;
            Ok((key, pid))
        }
        (None, None) => Err("--pid: give the process id of the gateway, or set PID_FILE".to_owned()),
    }
}

/// A gateway that serves.
struct Asked {
    pid: u32,
    /// The process itself: its number may be another one's by the time of the signal.
    process: OwnedFd,
    board: Reader,
    before: Notice,
}

impl Asked {
    /// Looks at a process. Errors: why it is not one that can be asked.
    fn new(pid: u32) -> Result<Asked, String> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| format!("{pid} is not a process id"))?;
        let process = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH | Errno::INVAL => format!("there is no process {pid}"),
            error => format!("process {pid}: {error}"),
        })?;
        let board = Reader::of(pid).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => format!("process {pid} belongs to another user"),
            _ => format!("process {pid}: {error}"),
        })?;
        let board =
            board.ok_or_else(|| format!("process {pid} is {}, and no gateway that serves", name(pid)))?;
        let before = board.read().ok_or_else(|| format!("process {pid} does not say how it is"))?;
        match before.stage {
            Stage::Serving | Stage::Failed(_) => Ok(Asked { pid, process, board, before }),
            Stage::Begun => Err(format!("an upgrade of process {pid} is under way already")),
            Stage::Succeeded(new) => Err(format!("process {pid} only drains, process {new} has taken over")),
            Stage::Ending => Err(format!("process {pid} shuts down")),
        }
    }

    fn signal(&self) -> Result<(), String> {
        pidfd_send_signal(&self.process, Signal::USR2)
            .map_err(|error| format!("process {}: {error}", self.pid))
    }

    /// Waits until the upgrade is decided. Returns the process id of the successor.
    fn wait(&self) -> Result<u32, String> {
        let begins_by = Instant::now() + BEGIN_PATIENCE;
        loop {
            // First whether it lives, then its last words: those of a process that has ended are complete.
            let has_ended = has_ended(&self.process);
            match self.board.read() {
                Some(Notice { begun, stage }) if begun > self.before.begun => match stage {
                    Stage::Failed(why) => return Err(format!("failed, the process continues: {why}")),
                    Stage::Succeeded(new) => return serves(new).map(|()| new),
                    Stage::Ending => return Err("the process was told to shut down meanwhile".to_owned()),
                    Stage::Begun | Stage::Serving => {}
                },
                Some(Notice { stage: Stage::Ending, .. }) => return Err("the process shuts down".to_owned()),
                Some(_) if Instant::now() >= begins_by => {
                    return Err("the process does not begin with it; see its log".to_owned());
                }
                Some(_) | None => {}
            }
            if has_ended {
                return Err("the process has ended before it was decided".to_owned());
            }
            thread::sleep(LOOK);
        }
    }
}

/// Waits until a process that has taken over serves. Errors: it has ended instead.
fn serves(pid: u32) -> Result<(), String> {
    let until = Instant::now() + BEGIN_PATIENCE;
    while Instant::now() < until {
        match Reader::of(pid) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("process {pid} has taken over, and has ended"));
            }
            Err(error) => return Err(format!("process {pid} has taken over: {error}")),
        }
        thread::sleep(LOOK);
    }
    Err(format!("process {pid} has taken over, and does not serve after {} s", BEGIN_PATIENCE.as_secs()))
}

/// Whether the process has ended: then its descriptor is readable (pidfd_open(2)).
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// The name of a process's program, for the operator.
fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{:?}", name.trim_end())
}

/// How long a gateway that was asked may take to begin, and one that has taken over to serve. Over it: its log has to
/// say why.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::upgrade_board::UpgradeBoard;

    #[test]
    fn who_cannot_be_asked_is_told_in_one_line_and_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        for (pid, file, part) in [
            (None, None, "--pid: give"),
            (Some(u32::MAX), None, "is not a process id"),
            (Some(i32::MAX as u32), None, "there is no process"),
            // It would end at the signal.
            (Some(child.id()), None, "\"sleep\", and no gateway"),
            (None, Some("/does/not/exist"), "PID_FILE: /does/not/exist: "),
            (None, Some("/proc/self/comm"), "PID_FILE: /proc/self/comm contains no process id"),
        ] {
            let Err(Refused::Unasked(why)) = request(pid, file.map(Path::new), true) else {
                panic!("{part}: asked");
            };
            assert!(why.lines().count() == 1 && why.contains(part), "{part}: {why}");
        }
        assert!(child.try_wait().expect("a child of ours").is_none(), "it got a signal");
        child.kill().and_then(|()| child.wait()).expect("its end");
    }

    #[test]
    fn a_gateway_is_asked_only_while_it_serves() {
        let board = UpgradeBoard::new();
        let own = std::process::id();
        for (stage, part) in [
            (Stage::Begun, "under way already"),
            (Stage::Succeeded(7), "process 7 has taken over"),
            (Stage::Ending, "shuts down"),
        ] {
            board.say(stage);
            let why = Asked::new(own).err().unwrap_or_default();
            assert!(why.contains(part), "{part}: {why}");
        }
        board.say(Stage::Failed("why".to_owned()));
        assert!(Asked::new(own).is_ok());
    }
}
