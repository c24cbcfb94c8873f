//! The backends by name, and the paths below which they echo.

/// One of the five backends, or the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Auth,
    Message,
    Delivery,
    Profile,
    Conversation,
    Page,
}

impl Backend {
    pub(super) fn name(self) -> &'static str {
        match self {
            Backend::Auth => "auth",
            Backend::Message => "message",
            Backend::Delivery => "delivery",
            Backend::Profile => "profile",
            Backend::Conversation => "conversation",
            Backend::Page => "page",
        }
    }

    /// The path below which a backend echoes. The page does not echo.
    fn prefix(self) -> Option<&'static str> {
        Some(match self {
            Backend::Auth => "/api/v1/auth",
            Backend::Message => "/api/v1/messages",
            Backend::Delivery => "/ws",
            Backend::Profile => "/api/v1/users",
            Backend::Conversation => "/api/v1/conversations",
            Backend::Page => return None,
        })
    }

    /// Whether the backend echoes a request for this path.
    pub(super) fn echoes(self, path: &str) -> bool {
        let below = self.prefix().and_then(|prefix| path.strip_prefix(prefix));
        below.is_some_and(|below| below.starts_with('/') && below.ends_with("/echo"))
    }
}
