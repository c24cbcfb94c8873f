//! A hot upgrade: the binary at the same path is started with our listening sockets, and takes over if it can.
//!
//! ```text
//! this process                           the new one
//! SIGUSR2 ── start, sockets, pipe ─────▶ judges its configuration, builds its cores
//!            ◀──────────────── ready ──── (or the reason why not, and its end)
//!         ── go ───────────────────────▶ takes clients
//! leaves the sockets, drains, ends
//! ```
//!
//! The sockets are never closed and opened again, so no client is in a queue that ends. Until `go` the new process
//! takes nobody: whatever happens to it, nothing is lost. They are handed over as a service manager would do it
//! (`inherit`), the pipe among them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use tracing::{error, info};

use crate::clock;
use crate::config::value::show_duration;
use crate::control::inherit::PIPE;
use crate::control::manager;
use crate::control::pid_file;
use crate::control::running::Running;
use crate::control::signals::OpenSignal;
use crate::limits::{SUCCESSOR_END_MS, SUCCESSOR_WORDS_MAX, TICK_MS};
use crate::net::RecvError;
use crate::net::{NEVER, StreamSocket, Timers};

/// How this process was started, so that another one can be started in the same way.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

/// What an upgrade needs.
pub struct Upgrade {
    /// What to start.
    pub program: Program,
    /// What to hand over, with the names of the protocol.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The configuration, with its waits.
    pub running: Arc<Running>,
    /// The waits of the control thread.
    pub timers: Rc<Timers>,
}

/// How far an upgrade has got.
enum Stage {
    /// The new process runs and has not said yet what it thinks.
    Started(Successor),
    /// It is ready.
    Ready(Successor),
    /// It takes clients: we are not in charge any more.
    HandedOver(u32),
    /// It is gone, and we go on as if nothing had been.
    Failed(String),
}

impl Program {
    /// This one. A path that was written is kept as it was, links in it included: what stands there by then is
    /// the new binary.
    pub fn of_this_process() -> io::Result<Program> {
        let mut args = env::args_os();
        let written =
            args.next().map(PathBuf::from).filter(|path| path.as_os_str().as_encoded_bytes().contains(&b'/'));
        let path = match written {
            Some(path) => env::current_dir()?.join(path),
            // Found by the shell in PATH.
            None => env::current_exe()?,
        };
        Ok(Program { path, args: args.collect() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Upgrade {
    /// Tries an upgrade at every signal, until one has succeeded. Dropped, it ends a process that has not taken over.
    pub async fn obey(&self, signal: &OpenSignal) -> u32 {
        loop {
            signal.wait(&self.timers, NEVER).await;
            info!(program = %self.program.path.display(), "upgrade: starting the new process");
            let mut stage = self.start();
            let why = loop {
                stage = match stage {
                    Stage::Started(successor) => successor.listen(&self.timers).await,
                    Stage::Ready(successor) => successor.release(),
                    Stage::HandedOver(pid) => return pid,
                    Stage::Failed(why) => break why,
                };
            };
            error!(%why, "upgrade: failed, this process goes on");
            // One that was asked for meanwhile has failed with this one.
            signal.forget();
        }
    }

    fn start(&self) -> Stage {
        if process::id() == 1 {
            return Stage::Failed(
                "this is process 1 of a container, and its end is the container's".to_owned(),
            );
        }
        let timeout = self.running.get().timeouts.upgrade;
        match self.spawn() {
            Ok((child, pipe)) => {
                info!(pid = child.id(), "upgrade: the new process has begun");
                let deadline_ms = clock::now_ms() + timeout.as_millis() as u64;
                let patience = show_duration(timeout);
                Stage::Started(Successor { child: Some(child), pipe, deadline_ms, patience })
            }
            Err(error) => {
                Stage::Failed(format!("{} cannot be started: {error}", self.program.path.display()))
            }
        }
    }

    fn spawn(&self) -> io::Result<(Child, StreamSocket)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let mut handed = Vec::new();
        for (name, socket) in &self.sockets {
            handed.push((name.as_str(), socket.try_clone()?));
        }
        handed.push((PIPE, far.into()));
        let names: Vec<&str> = handed.iter().map(|(name, _)| *name).collect();
        let mut command = Command::new(&self.program.path);
        command.args(&self.program.args).env("LISTEN_FDS", handed.len().to_string());
        command
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID")
            .env(SUCCEEDS, process::id().to_string());
        let mappings = handed.into_iter().zip(FIRST_FD..);
        let mappings =
            mappings.map(|((_, fd), number)| FdMapping { parent_fd: fd, child_fd: number }).collect();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok((command.spawn()?, StreamSocket::new(near.into())?))
    }
}

/// The new process before it is in charge. Dropped, it is ended.
struct Successor {
    /// `None`: it is on its own.
    child: Option<Child>,
    pipe: StreamSocket,
    deadline_ms: u64,
    patience: String,
}

impl Successor {
    /// Waits for its word.
    async fn listen(mut self, timers: &Timers) -> Stage {
        let (mut heard, mut space) = (Vec::new(), [0; 512]);
        loop {
            if let Err(RecvError::TimedOut) = self.pipe.arrival(timers, self.deadline_ms).await {
                return Stage::Failed(format!("the new process is not ready after {}", self.patience));
            }
            match self.pipe.try_recv(&mut space) {
                Ok(Some(count @ 1..)) if heard.len() < SUCCESSOR_WORDS_MAX => heard.extend(&space[..count]),
                Ok(Some(1..) | None) => {}
                Ok(Some(0)) | Err(_) => return Stage::Failed(self.exit_report(&heard, timers).await),
            }
            if heard == READY {
                return Stage::Ready(self);
            }
        }
    }

    /// It is in charge from now on.
    fn release(mut self) -> Stage {
        let Some(child) = self.child.take() else {
            return Stage::Failed("the new process is on its own already".to_owned());
        };
        let pid = child.id();
        // The service manager believes the process in charge, and that is us for one moment more.
        manager::in_charge(pid);
        match self.pipe.try_send(GO) {
            Ok(Some(_)) => {
                info!(pid, "upgrade: the new process has taken over");
                Stage::HandedOver(pid)
            }
            Ok(None) | Err(_) => {
                manager::in_charge(process::id());
                self.child = Some(child);
                Stage::Failed("the new process went away when it was ready".to_owned())
            }
        }
    }

    /// Why it has closed its end of the pipe: its own words, and how it ended.
    async fn exit_report(&mut self, heard: &[u8], timers: &Timers) -> String {
        let words = String::from_utf8_lossy(heard);
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let ended = match self.ended(timers).await {
            Some(status) => status.to_string(),
            None => "has closed its pipe and runs on".to_owned(),
        };
        match words.is_empty() {
            true => format!("the new process ended: {ended}"),
            false => format!("the new process ended: {ended}: {}", words.join("; ")),
        }
    }

    async fn ended(&mut self, timers: &Timers) -> Option<ExitStatus> {
        let deadline_ms = clock::now_ms() + SUCCESSOR_END_MS;
        loop {
            let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if status.is_some() || clock::now_ms() >= deadline_ms {
                return status;
            }
            timers.sleep_until(clock::now_ms() + TICK_MS).await;
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It has no clients, so nothing is lost. A process that has ended already is only reaped.
        let _ = child.kill();
        let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
    }
}

/// The pipe to the process that we succeed.
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// The other end of this.
    pub fn new(pipe: UnixStream) -> Predecessor {
        Predecessor(pipe)
    }

    /// Tells it why there will be no upgrade.
    pub fn refuse(self, why: &str) {
        // If it is gone there is nobody to tell.
        let _ = io::Write::write_all(&mut &self.0, why.as_bytes());
    }

    /// Says that we are ready and waits for its word. A process that is gone has left everything to us.
    /// Errors: it says nothing for longer than it may take.
    pub async fn ready(self, timers: &Timers, patience_ms: u64) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let pipe = StreamSocket::new(self.0.into())?;
        // A pipe that is broken shows below.
        let _ = pipe.try_send(READY);
        let deadline_ms = clock::now_ms() + patience_ms;
        loop {
            if let Err(RecvError::TimedOut) = pipe.arrival(timers, deadline_ms).await {
                return Err(io::Error::other("the process before this one does not let go"));
            }
            match pipe.try_recv(&mut [0; GO.len()]) {
                Ok(Some(_)) | Err(_) => return Ok(()),
                Ok(None) => {}
            }
        }
    }
}

/// Asks a running gateway for an upgrade; what comes of it stands in its log. `pid_file`: where its number stands.
///
/// # Errors
/// Nobody can be asked, in one line.
pub fn ask(pid: Option<u32>, pid_file: Option<&Path>) -> Result<String, String> {
    let (key, pid) = match (pid, pid_file) {
        (Some(pid), _) => ("--pid", pid),
        (None, Some(path)) => {
            let pid = pid_file::read(path);
            ("PID_FILE", pid.ok_or_else(|| format!("PID_FILE: {} holds no number", path.display()))?)
        }
        (None, None) => return Err("--pid: say which process is to be replaced, or set PID_FILE".to_owned()),
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|_| format!("{key}: there is no process {pid}"))?;
    // Sent to another program, the signal would end it.
    if !catches_usr2(&status) {
        return Err(format!("{key}: process {pid} takes no upgrades"));
    }
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| format!("{key}: {pid} is no number of a process"))?;
    kill_process(process, Signal::USR2).map_err(|error| format!("{key}: process {pid}: {error}"))?;
    Ok(format!("process {pid} was asked for an upgrade; its log says how it went\n"))
}

/// Whether a process handles SIGUSR2, by its status in /proc (proc_pid_status(5): `SigCgt`, a mask in hexadecimal).
fn catches_usr2(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (Signal::USR2.as_raw() - 1) & 1 == 1)
}

/// For the first line of the program: if it was started to succeed another, it becomes the one that the sockets are
/// meant for. The protocol wants that one's number in `LISTEN_PID`, which its parent could not know; so it writes
/// that down and starts itself once more, as the same process.
///
/// # Errors
/// It could not be started once more.
pub fn adopt_number() -> io::Result<()> {
    if env::var_os(SUCCEEDS).is_none() {
        return Ok(());
    }
    let mut args = env::args_os();
    let path = args.next().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(path);
    let number = process::id().to_string();
    command.args(args).env_remove(SUCCEEDS).env("LISTEN_PID", &number);
    if env::var_os("WATCHDOG_PID").is_some() {
        command.env("WATCHDOG_PID", &number);
    }
    Err(command.exec())
}

/// The number of the process that is succeeded. Only between that and the second start.
const SUCCEEDS: &str = "REALCHAT_GATEWAY_SUCCEEDS";
/// What a successor says when it could take clients.
const READY: &[u8] = b"ready\n";
/// What it waits for then.
const GO: &[u8] = b"go\n";
/// `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_handles_the_signal_is_asked() {
        assert!(catches_usr2("Name:\tx\nSigCgt:\t0000000000000800\n"));
        assert!(!catches_usr2("Name:\tx\nSigCgt:\t0000000000000400\n"));
        assert!(!catches_usr2("Name:\tx\n"));
    }

    #[test]
    fn what_cannot_be_asked_is_told_in_one_line() {
        for (pid, file) in [
            (None, None),
            // This test's own process handles no such signal.
            (Some(process::id()), None),
            (Some(u32::MAX), None),
            (None, Some("/does/not/exist")),
        ] {
            let told = ask(pid, file.map(Path::new)).expect_err("nobody to ask");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }

    #[test]
    fn the_program_is_the_one_at_its_path() {
        let program = Program::of_this_process().expect("a path");
        assert!(program.path().is_absolute() && program.path().exists(), "{program:?}");
    }
}
