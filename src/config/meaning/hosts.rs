//! The hosts of a route.

use std::fmt;

/// The hosts that a route takes: one, or all names one label below a name. In lower case, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// `chat.example`.
    Exact(String),
    /// `*.chat.example`: the name behind `*.`.
    Below(String),
}

impl HostPattern {
    /// Whether every host of the other pattern is one of this.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Below(above), HostPattern::Exact(name)) => {
                name.split_once('.').is_some_and(|(_, rest)| rest == above)
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}
