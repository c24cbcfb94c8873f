//! Hot upgrade: this process starts the binary at the same path as a successor process, which inherits the listening
//! sockets and takes over.
//!
//! ```text
//! this process                           successor process
//! SIGUSR2 ── start, sockets, pipe ─────▶ validates its configuration, starts its cores
//!            ◀──────────────── ready ──── (or the reason of the failure, then exit)
//!         ── go, a way for tunnels ────▶ accepts connections
//! leaves the sockets, moves tunnels, drains, exits
//! ```
//!
//! The sockets are never closed and reopened, so no connection in an accept queue is reset. Before `go` the successor
//! accepts no connection, so a failed upgrade loses none. The sockets and the pipe are passed by the
//! socket-activation protocol of service managers (`inherit`).
//!
//! *Go* brings one end of a pair of sockets for each core of this process, over which its live tunnels move
//! (`gateway::websocket::tunnel::crossing`). They come with the message, and not with the sockets, because a successor
//! that does not know of them does not even see them there: the kernel closes what it does not take.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::{MemfdFlags, memfd_create};
use tracing::{error, info};

use crate::auth::InheritedSets;
use crate::clock;
use crate::config::value::show_duration;
use crate::control::Cores;
use crate::control::inherit::{KEY_SETS, PREDECESSOR_PIPE, TICKET_KEYS};
use crate::control::manager;
use crate::control::reload::ReloadRequests;
use crate::control::running::RunningConfig;
use crate::control::signals::OpenSignal;
use crate::control::upgrade_board::{self, UpgradeBoard};
use crate::gateway::websocket::Lines;
use crate::limits::{DESCRIPTORS_AT_ONCE_MAX, SUCCESSOR_END_MS, SUCCESSOR_WORDS_MAX, TICK_MS};
use crate::net::RecvError;
use crate::net::descriptors::{self, RecordSocket, Sending};
use crate::net::{NEVER, StreamSocket, Timers};

/// The path and arguments of this process, for starting the successor process.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

/// The state for an upgrade.
pub struct Upgrade {
    /// The program to start.
    pub program: Program,
    /// The sockets to hand over, with their names in `LISTEN_FDNAMES`.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The current configuration, with the timeout of the upgrade.
    pub running: Arc<RunningConfig>,
    /// The requests for a reload, which a successor must not miss.
    pub reloads: Rc<ReloadRequests>,
    /// The timers of the control thread.
    pub timers: Rc<Timers>,
    /// The state that the cores should be in, with the ticket keys.
    pub cores: Arc<Cores>,
    /// The ways of tunnels to the successor.
    pub lines: Arc<Lines>,
    /// Where it says how its upgrades stand.
    pub board: UpgradeBoard,
}

/// The state of an upgrade.
enum Stage {
    /// The successor has started and has not reported its readiness yet.
    Started(Successor),
    /// The successor is ready to accept connections.
    Ready(Successor),
    /// The successor, with this process id, accepts connections.
    TakenOver(u32),
    /// The upgrade has failed for this reason, and this process continues unchanged.
    Failed(String),
}

impl Program {
    /// Returns the program of this process. Symbolic links in the path are not resolved, so that an upgrade starts
    /// the binary that the path leads to at that time.
    ///
    /// # Errors
    /// The path of the executable or the working directory cannot be determined.
    pub fn of_this_process() -> io::Result<Program> {
        let mut args = env::args_os();
        let written =
            args.next().map(PathBuf::from).filter(|path| path.as_os_str().as_encoded_bytes().contains(&b'/'));
        let path = match written {
            Some(path) => env::current_dir()?.join(path),
            // The shell found the program in PATH.
            None => env::current_exe()?,
        };
        Ok(Program { path, args: args.collect() })
    }

    /// The path of the executable.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Upgrade {
    /// Attempts an upgrade at every signal, and says on the board how it stands. Returns the process id of the
    /// successor after a successful upgrade. Dropping the future kills a successor that has not taken over.
    pub async fn on_signal(&self, signal: &OpenSignal) -> u32 {
        loop {
            signal.wait(&self.timers, NEVER).await;
            info!(program = %self.program.path.display(), "upgrade: starting the new process");
            self.board.say(upgrade_board::Stage::Begun);
            let reloads = self.reloads.count();
            let mut stage = self.start();
            let why = loop {
                stage = match stage {
                    Stage::Started(successor) => successor.wait_until_ready(&self.timers).await,
                    Stage::Ready(successor) => successor.hand_over(&self.lines, self.departing_cores()),
                    Stage::TakenOver(pid) => {
                        self.reloads.succeeded_by(pid, reloads);
                        self.board.say(upgrade_board::Stage::Succeeded(pid));
                        return pid;
                    }
                    Stage::Failed(why) => break why,
                };
            };
            error!(%why, "upgrade: failed, this process continues");
            // A signal during an upgrade has no effect.
            signal.discard_pending();
            // Now the next request has one.
            self.board.say(upgrade_board::Stage::Failed(why));
        }
    }

    fn start(&self) -> Stage {
        if process::id() == 1 {
            return Stage::Failed(
                "this is process 1 of a container, and the container ends with process 1".to_owned(),
            );
        }
        let timeout = self.running.get().timeouts.upgrade;
        match self.spawn() {
            Ok((child, pipe)) => {
                info!(pid = child.id(), "upgrade: the new process has begun");
                let deadline_ms = clock::now_ms() + timeout.as_millis() as u64;
                let timeout_text = show_duration(timeout);
                Stage::Started(Successor { child: Some(child), pipe, deadline_ms, timeout_text })
            }
            Err(error) => {
                Stage::Failed(format!("{} cannot be started: {error}", self.program.path.display()))
            }
        }
    }

    /// The cores whose tunnels may move to the successor.
    fn departing_cores(&self) -> usize {
        let moves = !self.running.get().timeouts.upgrade_tunnels.is_zero();
        if moves { self.cores.count().min(DESCRIPTORS_AT_ONCE_MAX) } else { 0 }
    }

    /// The ticket keys of this process, with which the successor opens the tickets of before.
    fn ticket_secrets(&self) -> Option<Vec<u8>> {
        self.cores.configuration().tls.as_ref()?.ticket_secrets().to_bytes()
    }

    /// The key sets of this process, for which the successor does not have to wait.
    fn key_sets(&self) -> Option<Vec<u8>> {
        let configuration = self.cores.configuration();
        InheritedSets::of(&configuration.config.jwt, configuration.keys.sets()).to_bytes()
    }

    fn spawn(&self) -> io::Result<(Child, StreamSocket)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let mut handed = Vec::new();
        for (name, socket) in &self.sockets {
            handed.push((name.as_str(), socket.try_clone()?));
        }
        handed.push((PREDECESSOR_PIPE, far.into()));
        if let Some(secrets) = self.ticket_secrets() {
            // They fit the buffer of any pipe, so nobody waits.
            let (reader, mut writer) = io::pipe()?;
            writer.write_all(&secrets)?;
            handed.push((TICKET_KEYS, reader.into()));
        }
        if let Some(sets) = self.key_sets() {
            let mut file = File::from(memfd_create(KEY_SETS, MemfdFlags::CLOEXEC)?);
            file.write_all(&sets)?;
            file.rewind()?;
            handed.push((KEY_SETS, file.into()));
        }
        let names: Vec<&str> = handed.iter().map(|(name, _)| *name).collect();
        let mut command = Command::new(&self.program.path);
        command.args(&self.program.args).env("LISTEN_FDS", handed.len().to_string());
        command
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID")
            .env(PREDECESSOR_PID, process::id().to_string());
        let mappings = handed.into_iter().zip(FIRST_FD..);
        let mappings =
            mappings.map(|((_, fd), number)| FdMapping { parent_fd: fd, child_fd: number }).collect();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok((command.spawn()?, StreamSocket::new(near.into())?))
    }
}

/// The successor process before the takeover. Dropping this value kills the process.
struct Successor {
    /// `None` after the takeover.
    child: Option<Child>,
    pipe: StreamSocket,
    deadline_ms: u64,
    timeout_text: String,
}

impl Successor {
    /// Waits until the successor reports its readiness.
    async fn wait_until_ready(mut self, timers: &Timers) -> Stage {
        let (mut received, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            if let Err(RecvError::TimedOut) = self.pipe.arrival(timers, self.deadline_ms).await {
                return Stage::Failed(format!("the new process is not ready after {}", self.timeout_text));
            }
            match self.pipe.try_recv(&mut buffer) {
                Ok(Some(count @ 1..)) if received.len() < SUCCESSOR_WORDS_MAX => {
                    received.extend(&buffer[..count])
                }
                Ok(Some(1..) | None) => {}
                Ok(Some(0)) | Err(_) => return Stage::Failed(self.exit_report(&received, timers).await),
            }
            if received == READY {
                return Stage::Ready(self);
            }
        }
    }

    /// Tells the successor to accept connections, and makes a way to it for the tunnels of so many cores.
    fn hand_over(mut self, lines: &Lines, cores: usize) -> Stage {
        let Some(child) = self.child.take() else {
            return Stage::Failed("the new process has already taken over".to_owned());
        };
        let pid = child.id();
        // The service manager accepts this notification only from the main process, so it must be sent before `GO`.
        manager::announce_main_process(pid);
        // Without descriptors for all of them, all tunnels get their goodbye.
        let pairs =
            (0..cores).map(|_| RecordSocket::pair()).collect::<io::Result<Vec<_>>>().unwrap_or_default();
        let (near, far): (Vec<OwnedFd>, Vec<OwnedFd>) = pairs.into_iter().unzip();
        let far: Vec<BorrowedFd<'_>> = far.iter().map(OwnedFd::as_fd).collect();
        match descriptors::send(&self.pipe, [GO, &[]], &far) {
            Ok(Sending::Sent) => {
                info!(pid, "upgrade: the new process has taken over");
                lines.begin_departure(near);
                Stage::TakenOver(pid)
            }
            Ok(Sending::NoRoom | Sending::NotNow) | Err(_) => {
                manager::announce_main_process(process::id());
                self.child = Some(child);
                Stage::Failed("the new process ended after it had reported its readiness".to_owned())
            }
        }
    }

    /// Explains why the successor has closed the pipe: its exit status and the errors that it reported.
    async fn exit_report(&mut self, received: &[u8], timers: &Timers) -> String {
        let words = String::from_utf8_lossy(received);
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let ended = match self.wait_for_exit(timers).await {
            Some(status) => format!("the new process ended: {status}"),
            None => "the new process has closed its pipe but still runs".to_owned(),
        };
        match words.is_empty() {
            true => ended,
            false => format!("{ended}: {}", words.join("; ")),
        }
    }

    async fn wait_for_exit(&mut self, timers: &Timers) -> Option<ExitStatus> {
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
        // The successor has not accepted any connection, so killing it loses none. A process that has already exited
        // is only reaped.
        let _ = child.kill();
        let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
    }
}

/// The pipe to the predecessor process.
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Takes this process's end of the pipe.
    pub fn new(pipe: UnixStream) -> Predecessor {
        Predecessor(pipe)
    }

    /// Reports to the predecessor why the upgrade fails.
    pub fn report_failure(self, why: &str) {
        // A write error means that the predecessor has ended and needs no report.
        let _ = io::Write::write_all(&mut &self.0, why.as_bytes());
    }

    /// Reports readiness to the predecessor and waits for its permission to accept connections. If the predecessor
    /// has ended, this process takes over immediately. Returns the ways over which the predecessor's tunnels come.
    ///
    /// # Errors
    /// The predecessor does not answer in time, or the pipe cannot be registered with the runtime.
    pub async fn take_over(self, timers: &Timers, timeout_ms: u64) -> io::Result<Vec<OwnedFd>> {
        self.0.set_nonblocking(true)?;
        let pipe = StreamSocket::new(self.0.into())?;
        // If the pipe is broken, `try_recv` reports it below.
        let _ = pipe.try_send(READY);
        let deadline_ms = clock::now_ms() + timeout_ms;
        loop {
            if let Err(RecvError::TimedOut) = pipe.arrival(timers, deadline_ms).await {
                return Err(io::Error::other("the old process does not release the listening sockets"));
            }
            match descriptors::receive(&pipe, &mut [0; GO.len()]) {
                // A way whose other end was lost would only be waited for.
                Ok(Some(received)) if received.is_whole => return Ok(received.descriptors),
                Ok(Some(_)) | Err(_) => return Ok(Vec::new()),
                Ok(None) => {}
            }
        }
    }
}

/// Sets `LISTEN_PID` in a successor process. Call this function first in `main`. The socket-activation protocol
/// requires the process id of the receiver in `LISTEN_PID`, which the predecessor cannot know before the process
/// exists. So the successor sets the variable and executes itself again, which keeps the process id. In any other
/// process this function does nothing.
///
/// # Errors
/// Returns the errors of `execve(2)`.
pub fn adopt_process_id() -> io::Result<()> {
    if env::var_os(PREDECESSOR_PID).is_none() {
        return Ok(());
    }
    let mut args = env::args_os();
    let path = args.next().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(path);
    let own_pid = process::id().to_string();
    command.args(args).env_remove(PREDECESSOR_PID).env("LISTEN_PID", &own_pid);
    if env::var_os("WATCHDOG_PID").is_some() {
        command.env("WATCHDOG_PID", &own_pid);
    }
    Err(command.exec())
}

/// The environment variable that marks a successor process until its second `execve(2)`. Its value is the process id
/// of the predecessor.
const PREDECESSOR_PID: &str = "REALCHAT_GATEWAY_SUCCEEDS";
/// The successor sends this message when it is ready to accept connections.
const READY: &[u8] = b"ready\n";
/// The predecessor answers with this message, after which the successor accepts connections.
const GO: &[u8] = b"go\n";
/// `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_at_its_path() {
        let program = Program::of_this_process().expect("a path");
        assert!(program.path().is_absolute() && program.path().exists(), "{program:?}");
    }
}
