//! Where the members of an upstream come from.

use std::fmt;
use std::path::PathBuf;

/// Where the members of an upstream come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// They are written: `url` or `urls`. At least one.
    Listed(Vec<WeightedAddress>),
    /// SRV records of this name list them: `srv`.
    Srv(String),
    /// A file lists them, which is watched: `members_file`.
    File(PathBuf),
}

/// An address, and its part of the requests. A name that has several addresses leads to as many members, each of this
/// weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedAddress {
    /// The address.
    pub address: UpstreamAddress,
    /// 1 or more.
    pub weight: u32,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// A name or an address literal, resolved on the control thread.
    Tcp {
        /// Name, or address literal without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A stream socket in the file system (`http+unix://%2Frun%2Fa.sock`).
    Unix(PathBuf),
}

/// Which upstreams have to have a usable member while the process is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyRequires {
    /// None of them.
    Nothing,
    /// Each of them.
    EveryUpstream,
    /// Those of these names.
    Upstreams(Vec<String>),
}

impl Members {
    /// One address.
    pub fn one(address: UpstreamAddress) -> Members {
        Members::Listed(vec![WeightedAddress { address, weight: 1 }])
    }
}

impl fmt::Display for Members {
    /// Where they come from, in a word or two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Members::Listed(listed) if listed.len() == 1 => f.write_str("url"),
            Members::Listed(_) => f.write_str("urls"),
            Members::Srv(name) => write!(f, "srv {name}"),
            Members::File(path) => write!(f, "members_file {}", path.display()),
        }
    }
}
