//! The demo's services as a process of their own. It outlives a hot upgrade of the gateway, so what is said in the chat
//! room is still there, and its WebSockets go on.
//!
//! ```text
//! gateway ══ a socket: lines of JSON ══ services
//! successor ══╝
//! ```
//!
//! The process ends when the last gateway that has the other end has ended, in whatever way.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::backends::{self, Backends};
use super::bounds::HOUSEHOLD_LINE_BYTES_MAX;
use super::entrance::Entrance;
use super::mint::TokenMint;
use super::page::Page;
use crate::http::Scheme;

/// The subcommand of the process. Nobody types it.
pub const SUBCOMMAND: &str = "demo-services";

/// A gateway's end.
#[derive(Debug)]
pub struct Household(UnixStream);

/// What a gateway knows of the services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Where they are.
    pub(super) backends: Backends,
    /// The secret that their tokens are signed with.
    pub(super) secret: Vec<u8>,
}

/// What a gateway says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// The services are to begin.
    Begin { page_port: u16, mint: Minted },
    /// Where are they?
    Tell,
    /// The page may be served: this is where it finds the gateway.
    Open { is_tls: bool, port: u16 },
}

/// What [`TokenMint`] is made of.
#[derive(Debug, Serialize, Deserialize)]
struct Minted {
    secret: Vec<u8>,
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: Vec<String>,
    ttl_s: u64,
}

impl Household {
    /// Starts the process of the services.
    ///
    /// # Errors
    /// There is no process, or it has no loopback interface, or the page's port is taken.
    pub(super) fn start(page_port: u16, mint: &TokenMint) -> io::Result<(Household, Standing)> {
        let (near, far) = UnixStream::pair()?;
        let mut command = Command::new(env::current_exe()?);
        command.arg(SUBCOMMAND).stdin(OwnedFd::from(far)).stdout(Stdio::null());
        // Not the terminal's: its signals are for the gateway, which drains before the services end.
        command.process_group(0);
        for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        // A process without one could not tell of its end.
        thread::Builder::new().name("demo-services".to_owned()).spawn(move || {
            let ended = child.wait();
            error!(?ended, "the demo's services have ended");
        })?;
        let household = Household(near);
        household.say(&Said::Begin { page_port, mint: Minted::from(mint) })?;
        let standing = household.hear()?;
        Ok((household, standing))
    }

    /// The services of the gateway before this one.
    pub fn of_predecessor(socket: OwnedFd) -> Household {
        Household(socket.into())
    }

    /// Where the services are.
    ///
    /// # Errors
    /// They have ended.
    pub(super) fn ask(&self) -> io::Result<Standing> {
        self.say(&Said::Tell)?;
        self.hear()
    }

    /// From now on the page is served, and leads to this entrance.
    pub(super) fn open(&self, Entrance { scheme, port }: Entrance) {
        // Without services there is no page either.
        let _ = self.say(&Said::Open { is_tls: scheme == Scheme::Https, port });
    }

    /// Another gateway's end.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn for_successor(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }

    fn say(&self, said: &Said) -> io::Result<()> {
        write_line(&self.0, said)
    }

    fn hear(&self) -> io::Result<Standing> {
        let told = read_line::<Result<Standing, String>>(&mut BufReader::new(&self.0))?;
        told.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)
    }
}

/// Runs the services until no gateway has the other end of the standard input.
///
/// # Errors
/// The standard input is not what a gateway makes it.
pub fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(&socket);
    let page = Page::default();
    let mut standing = Err("nothing has begun".to_owned());
    while let Some(said) = read_line(&mut lines)? {
        match said {
            Said::Begin { page_port, mint } => {
                standing = begin(page_port, mint, &page).map_err(|error| error.to_string());
                write_line(&socket, &standing)?;
            }
            Said::Tell => write_line(&socket, &standing)?,
            Said::Open { is_tls, port } => {
                page.lead_to(Entrance { scheme: if is_tls { Scheme::Https } else { Scheme::Http }, port });
            }
        }
    }
    Ok(())
}

fn begin(page_port: u16, mint: Minted, page: &Page) -> io::Result<Standing> {
    let secret = mint.secret.clone();
    let backends = backends::start(mint.into(), page.clone(), backends::bind_page(page_port)?)?;
    Ok(Standing { backends, secret })
}

fn write_line(mut socket: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// `None`: the other end is gone.
fn read_line<T: for<'a> Deserialize<'a>>(lines: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    lines.take(HOUSEHOLD_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
}

impl From<&TokenMint> for Minted {
    fn from(mint: &TokenMint) -> Minted {
        Minted {
            secret: mint.secret.clone(),
            issuer: mint.issuer.clone(),
            audience: mint.audience.clone(),
            user_claim: mint.user_claim.clone(),
            ttl_s: mint.ttl.as_secs(),
        }
    }
}

impl From<Minted> for TokenMint {
    fn from(minted: Minted) -> TokenMint {
        TokenMint {
            secret: minted.secret,
            issuer: minted.issuer,
            audience: minted.audience,
            user_claim: minted.user_claim,
            ttl: Duration::from_secs(minted.ttl_s),
        }
    }
}
