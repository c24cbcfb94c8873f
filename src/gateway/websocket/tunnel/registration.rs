//! What a tunnel is registered with on its core, besides its state: it goes along to another process.

use crate::downstream::clients::Network;
use crate::gateway::websocket::online::Attendance;

/// Whose tunnel it is, and which route it came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The client, as bounds see it.
    pub network: Network,
    /// The route's name.
    pub route: Box<str>,
    /// The verified subject.
    pub user: Option<Box<str>>,
    /// What Redis knows of it; `None`: nothing.
    pub attendance: Option<Attendance>,
}
