//! A request's head, whatever version of HTTP it came in.

use super::{BodyLength, Field, FieldKind, Method, Span, Target};

/// A request's head: its bytes, and what they mean. It is made to be filled again and again: a codec reuses its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What every span of this head is a range of.
    pub(crate) bytes: Vec<u8>,
    /// How many of these bytes the client has sent; behind them stands what had to be percent-encoded.
    pub(crate) received: usize,
    /// Of a refused head: its target as sent, without what may hold a secret. For the log alone.
    pub(crate) refused_target: Span,
    /// The method.
    pub method: Method,
    /// Its name as it came: of [`Method::Other`] the only name.
    pub(crate) method_name: Span,
    /// The target. Its path is canonical.
    pub target: Target,
    /// The effective authority. Empty only in an HTTP/1.0 request that names none.
    pub(crate) host: Span,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// The length of the body.
    pub body: BodyLength,
    /// The client waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// The client asks for a WebSocket. Key, version and the absence of a body are for the handshake to check.
    pub is_websocket: bool,
}

impl Request {
    /// Forgets the last head: what is recorded of a head that could not be parsed must not be another request's. Of the
    /// method it matters whether the answer may have a body.
    pub fn clear(&mut self, method: Method) {
        let (mut bytes, mut fields) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.fields));
        bytes.clear();
        fields.clear();
        *self = Request { bytes, fields, method, ..Request::default() };
    }

    /// The bytes that the parsed parts are ranges of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of the head the client has sent.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The method, as sent.
    pub fn method_name(&self) -> &[u8] {
        self.method_name.of(&self.bytes)
    }

    /// The target of a refused head, as sent, without what may hold a secret; nothing if it could not be read.
    pub fn refused_target(&self) -> &[u8] {
        self.refused_target.of(&self.bytes)
    }

    /// The canonical path.
    pub fn path(&self) -> &[u8] {
        self.target.path(&self.bytes)
    }

    /// The query with its question mark, or nothing.
    pub fn query(&self) -> &[u8] {
        self.target.query.of(&self.bytes)
    }

    /// The host that was asked for.
    pub fn host(&self) -> &[u8] {
        self.host.of(&self.bytes)
    }

    /// The values of the fields of one kind, in order.
    pub fn values(&self, kind: FieldKind) -> impl DoubleEndedIterator<Item = &[u8]> {
        let fields = self.fields.iter().filter(move |field| field.kind == kind);
        fields.map(|field| field.value.of(&self.bytes))
    }

    /// The request has a body that its service may leave unread: the connection that it goes out on must carry no
    /// other request.
    pub fn may_leave_body_unread(&self) -> bool {
        !matches!(self.body, BodyLength::None | BodyLength::Exact(0)) && !self.method.gives_body_meaning()
    }

    /// The value of the only field of a kind; `None`: there is none, or more than one.
    pub fn only(&self, kind: FieldKind) -> Option<&[u8]> {
        let mut values = self.values(kind);
        values.next().filter(|_| values.next().is_none())
    }
}
