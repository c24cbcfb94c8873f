//! The heads of one exchange, lent by the core so that a request allocates nothing for them.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::http1::{FieldKind, HeadError, HeadLimits, Method, RequestHead, ResponseHead};
use crate::limits::HEADS_POOLED_MAX;

/// A request's head: its bytes, and what they mean.
#[derive(Default)]
pub struct Request {
    bytes: Vec<u8>,
    /// The parsed parts, as ranges of the bytes.
    pub head: RequestHead,
}

impl Request {
    /// Takes over the bytes of a complete head.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.head.parse(&mut self.bytes, limits)
    }

    /// Forgets the last head: what is recorded of a head that could not be parsed must not be another's. Of `head`
    /// it only matters whether the answer may have a body.
    pub fn clear_but_method(&mut self, head: &[u8]) {
        self.bytes.clear();
        self.head = RequestHead { fields: std::mem::take(&mut self.head.fields), ..RequestHead::default() };
        self.head.fields.clear();
        if head.starts_with(b"HEAD ") {
            self.head.method = Method::Head;
        }
    }

    /// The bytes that the parsed parts are ranges of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The method, as sent.
    pub fn method(&self) -> &[u8] {
        self.head.method_name.of(&self.bytes)
    }

    /// The canonical path.
    pub fn path(&self) -> &[u8] {
        self.head.target.path(&self.bytes)
    }

    /// The query with its question mark, or nothing.
    pub fn query(&self) -> &[u8] {
        self.head.target.query.of(&self.bytes)
    }

    /// The host that was asked for.
    pub fn host(&self) -> &[u8] {
        self.head.host.of(&self.bytes)
    }

    /// The values of the fields of one kind, in order.
    pub fn values(&self, kind: FieldKind) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.head
            .fields
            .iter()
            .filter(move |field| field.kind == kind)
            .map(|field| field.value.of(&self.bytes))
    }

    /// The value of the only field of a kind.
    pub fn only(&self, kind: FieldKind) -> Option<&[u8]> {
        let mut values = self.values(kind);
        values.next().filter(|_| values.next().is_none())
    }
}

/// Both heads of one exchange.
#[derive(Default)]
pub struct Heads {
    /// What was asked.
    pub request: Request,
    /// What the upstream answered.
    pub response: ResponseHead,
}

/// The free heads of one core.
#[derive(Default)]
pub struct HeadPool {
    /// Boxed, so that lending one moves a pointer and a connection's task stays small.
    #[allow(clippy::vec_box)]
    free: RefCell<Vec<Box<Heads>>>,
}

impl HeadPool {
    /// Heads for one exchange.
    pub fn take(self: &Rc<Self>) -> LentHeads {
        let heads = self.free.borrow_mut().pop().unwrap_or_default();
        LentHeads { heads: Some(heads), pool: self.clone() }
    }
}

/// Heads on loan from their pool. Dropping them gives them back.
pub struct LentHeads {
    heads: Option<Box<Heads>>,
    pool: Rc<HeadPool>,
}

impl Deref for LentHeads {
    type Target = Heads;

    fn deref(&self) -> &Heads {
        self.heads.as_ref().expect("only the drop takes them")
    }
}

impl DerefMut for LentHeads {
    fn deref_mut(&mut self) -> &mut Heads {
        self.heads.as_mut().expect("only the drop takes them")
    }
}

impl Drop for LentHeads {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        if free.len() < HEADS_POOLED_MAX {
            free.extend(self.heads.take());
        }
    }
}
