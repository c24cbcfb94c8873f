//! What Redis knows of a socket, as it goes with its tunnel to another core or process.

use super::socket_id::SocketId;

/// A socket that Redis knows. Its name and its place stay the same wherever it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendance {
    /// What it is called.
    pub id: SocketId,
    /// Its verified user.
    pub user: Option<Box<str>>,
    /// Its route.
    pub route: Box<str>,
    /// Redis has given it a place.
    pub is_entered: bool,
}
