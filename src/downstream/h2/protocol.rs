//! What follows on each frame of a client.

use std::cell::RefCell;
use std::rc::Rc;

use super::request::H2Request;
use crate::downstream::clients::Place;
use crate::downstream::settings::Settings;
use crate::http::{BodyLength, HeadPool};
use crate::http2::frame::{self, Frame};
use crate::http2::hpack::{Decoder, Fields, Scratch};
use crate::http2::{Block, Budget, ErrorCode, Fault, HeadError, RequestLines, TrailerLines, Unfinished};
use crate::message::h2::{Link, StreamId};
use crate::net::Buffer;

/// What heads are decoded with: one for all connections of a core, since a head is decoded at once.
#[derive(Default)]
pub struct Bench {
    scratch: Scratch,
    lines: RequestLines,
}

/// The receiving half of a connection, apart from its bytes.
pub(super) struct Protocol {
    pub(super) link: Rc<Link>,
    client: Place,
    bench: Rc<RefCell<Bench>>,
    decoder: Decoder,
    pub(super) unfinished: Option<Unfinished>,
    /// What has come of it.
    pub(super) block: Buffer,
    /// "The server connection preface … MUST be the first frame"; the client's is a SETTINGS frame as well.
    is_greeted: bool,
    /// New streams are not served any more.
    pub(super) is_closing: bool,
    /// Bytes of a body have come since the last look.
    pub(super) has_data: bool,
}

impl Protocol {
    pub(super) fn new(link: Rc<Link>, client: Place, bench: Rc<RefCell<Bench>>, block: Buffer) -> Protocol {
        Protocol {
            link,
            client,
            bench,
            decoder: Decoder::default(),
            unfinished: None,
            block,
            is_greeted: false,
            is_closing: false,
            has_data: false,
        }
    }

    /// Takes a frame. A stream that cannot go on is reset here.
    ///
    /// # Errors
    /// The code with which the connection ends.
    pub(super) fn take(
        &mut self,
        frame: Frame<'_>,
        settings: &Settings,
        heads: &Rc<HeadPool>,
        now_ms: u64,
    ) -> Result<Option<H2Request>, ErrorCode> {
        match self.on(frame, settings, heads, now_ms) {
            Ok(request) => Ok(request),
            Err(Fault::Connection(code)) => Err(code),
            Err(Fault::Stream(id, code)) => {
                self.link.spend(Budget::reset)?;
                self.link.refuse(id, code);
                Ok(None)
            }
        }
    }

    fn on(
        &mut self,
        frame: Frame<'_>,
        settings: &Settings,
        heads: &Rc<HeadPool>,
        now_ms: u64,
    ) -> Result<Option<H2Request>, Fault> {
        if !std::mem::replace(&mut self.is_greeted, true) && !matches!(frame, Frame::Settings(_)) {
            return Err(ErrorCode::ProtocolError.into());
        }
        if self.unfinished.is_some() && !matches!(frame, Frame::Continuation { .. }) {
            return Err(ErrorCode::ProtocolError.into());
        }
        match frame {
            Frame::Headers { stream, block, ends_stream, ends_block: true } => {
                return self.block(stream, ends_stream, block, settings, heads);
            }
            Frame::Headers { stream, block, ends_stream, .. } => {
                self.unfinished = Some(Unfinished::begin(stream, ends_stream, block.len()));
                self.block.put(block);
                return Ok(None);
            }
            Frame::Continuation { stream, block, ends_block } => {
                let unfinished = self.unfinished.as_mut().ok_or(ErrorCode::ProtocolError)?;
                unfinished.add(stream, block.len())?;
                self.block.put(block);
                return if ends_block { self.finish_block(settings, heads) } else { Ok(None) };
            }
            Frame::Data { stream, data, flow, ends_stream } if !data.is_empty() || ends_stream => {
                self.link.moved();
                self.has_data = true;
                self.link.data(stream, data, flow, ends_stream)?;
                return Ok(None);
            }
            _ => {}
        }
        // Everything else moves no request on.
        self.link.spend(|budget| budget.control(now_ms))?;
        match frame {
            Frame::Data { stream, data, flow, ends_stream } => {
                self.link.data(stream, data, flow, ends_stream)?;
            }
            Frame::Reset { stream } => {
                if self.link.reset_by_client(stream)? {
                    self.link.spend(Budget::reset)?;
                }
            }
            Frame::Settings(payload) => self.link.settings(payload)?,
            Frame::Ping(opaque) => self.link.control(&frame::ping_ack(opaque)),
            Frame::WindowUpdate { stream, increment } => self.link.window_update(stream, increment)?,
            Frame::Broken { stream, code } if self.link.is_idle(stream) => return Err(code.into()),
            Frame::Broken { stream, code } => return Err(Fault::Stream(stream, code)),
            Frame::Headers { .. }
            | Frame::Continuation { .. }
            | Frame::SettingsAck
            | Frame::GoAway
            | Frame::Other { .. } => {}
        }
        Ok(None)
    }

    /// A block that has come in several frames is complete.
    fn finish_block(
        &mut self,
        settings: &Settings,
        heads: &Rc<HeadPool>,
    ) -> Result<Option<H2Request>, Fault> {
        let empty = self.block.sibling();
        let whole = std::mem::replace(&mut self.block, empty);
        let Some(Unfinished { stream, ends_stream, .. }) = self.unfinished.take() else { return Ok(None) };
        self.block(stream, ends_stream, whole.filled(), settings, heads)
    }

    /// A whole block of fields. Whatever it is, it is decoded: later ones refer to it.
    fn block(
        &mut self,
        id: StreamId,
        ends_stream: bool,
        block: &[u8],
        settings: &Settings,
        heads: &Rc<HeadPool>,
    ) -> Result<Option<H2Request>, Fault> {
        let bench = self.bench.clone();
        let Bench { scratch, lines } = &mut *bench.borrow_mut();
        match self.link.block(id, ends_stream) {
            Ok(Block::Request) if !self.is_closing && self.link.has_place() => {
                lines.begin(&settings.head_limits);
                self.decode(block, scratch, lines)?;
                self.request(id, ends_stream, lines, heads).map(Some)
            }
            Ok(Block::Request | Block::Refused) => {
                self.decode(block, scratch, &mut Nobody)?;
                Err(Fault::Stream(id, ErrorCode::RefusedStream))
            }
            Ok(Block::Trailers) => {
                let mut section = TrailerLines::default();
                self.decode(block, scratch, &mut section)?;
                let lines = section.finish().map_err(|_| Fault::Stream(id, ErrorCode::ProtocolError))?;
                self.link.trailers(id, lines)?;
                Ok(None)
            }
            Ok(Block::Ignored) => self.decode(block, scratch, &mut Nobody).map(|()| None),
            Err(fault @ Fault::Stream(..)) => {
                self.decode(block, scratch, &mut Nobody)?;
                Err(fault)
            }
            Err(fault) => Err(fault),
        }
    }

    fn decode(&mut self, block: &[u8], scratch: &mut Scratch, fields: &mut impl Fields) -> Result<(), Fault> {
        let decoded = self.decoder.decode(block, scratch, fields);
        decoded.map_err(|_| Fault::Connection(ErrorCode::CompressionError))
    }

    fn request(
        &mut self,
        id: StreamId,
        ends_stream: bool,
        lines: &mut RequestLines,
        heads: &Rc<HeadPool>,
    ) -> Result<H2Request, Fault> {
        let mut heads = heads.take();
        let refused = match lines.parse(ends_stream, &mut heads.request) {
            Ok(()) => None,
            Err(HeadError::Malformed) => return Err(Fault::Stream(id, ErrorCode::ProtocolError)),
            Err(HeadError::Refused(error)) => {
                lines.remember(&mut heads.request);
                Some(error)
            }
        };
        let expected = match heads.request.body {
            BodyLength::Exact(bytes) => Some(bytes),
            BodyLength::None | BodyLength::Unknown => None,
        };
        self.link.open(id, expected, ends_stream);
        self.link.moved();
        Ok(H2Request { link: self.link.clone(), id, client: self.client, heads, refused })
    }
}

/// Who takes fields that are of no use.
struct Nobody;

impl Fields for Nobody {
    fn field(&mut self, _: &[u8], _: &[u8]) {}
}
