//! The way of spans from the cores to who sends them on: each core gathers its own, and hands them over as the
//! access log hands over its lines. A core never waits: what has no place is dropped and counted.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::otlp;
use super::span::{Attribute, Span};
use crate::limits::{SPAN_QUEUE, SPANS_GATHERED_MAX};

crate::metric_group! {
    /// Metrics of the spans of one core.
    pub struct SpanMetrics {
        /// Spans that were lost, by reason.
        labelled dropped("reason", &["queue_full"]) = "spans_dropped";
    }
}

/// The queue.
#[derive(Debug)]
pub struct SpanQueue {
    sender: Sender<Vec<otlp::Span>>,
    receiver: Receiver<Vec<otlp::Span>>,
}

/// One core's end of it.
#[derive(Debug)]
pub struct SpanLog {
    gathered: Vec<otlp::Span>,
    sender: Sender<Vec<otlp::Span>>,
    metrics: Arc<SpanMetrics>,
}

impl SpanQueue {
    /// An empty one.
    pub fn new() -> SpanQueue {
        let (sender, receiver) = bounded(SPAN_QUEUE);
        SpanQueue { sender, receiver }
    }

    /// A core's end.
    pub fn core_log(&self, metrics: Arc<SpanMetrics>) -> SpanLog {
        SpanLog { gathered: Vec::new(), sender: self.sender.clone(), metrics }
    }

    /// The other end. It is at its end when every core has gone.
    pub fn into_receiver(self) -> Receiver<Vec<otlp::Span>> {
        self.receiver
    }
}

impl Default for SpanQueue {
    fn default() -> SpanQueue {
        SpanQueue::new()
    }
}

impl SpanLog {
    /// Takes a span that is over.
    pub fn record(&mut self, span: &Span<'_>, attributes: &[Attribute<'_>]) {
        if self.gathered.len() >= SPANS_GATHERED_MAX {
            self.flush();
        }
        match self.gathered.len() < SPANS_GATHERED_MAX {
            true => self.gathered.push(span.message(attributes)),
            false => self.metrics.dropped.at(0).add(1),
        }
    }

    /// Hands over what has gathered. The core's ticker calls it. While the queue is full, the spans stay here.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        match self.sender.try_send(std::mem::take(&mut self.gathered)) {
            Ok(()) => {}
            Err(TrySendError::Full(spans)) => self.gathered = spans,
            // Who sends them on has ended.
            Err(TrySendError::Disconnected(spans)) => self.metrics.dropped.at(0).add(spans.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SpanId, SpanKind, TraceId};
    use super::*;

    fn span() -> Span<'static> {
        Span {
            trace: TraceId::read(b"4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
            id: SpanId::of(7),
            parent: None,
            trace_state: b"",
            kind: SpanKind::Server,
            name: ("GET", None),
            unix_us: (1, 2),
            is_error: false,
        }
    }

    #[test]
    fn a_core_whose_queue_is_full_keeps_some_and_counts_what_it_drops() {
        let (queue, metrics) = (SpanQueue::new(), Arc::<SpanMetrics>::default());
        let mut log = queue.core_log(metrics.clone());
        let room = SPANS_GATHERED_MAX * (SPAN_QUEUE + 1);
        for _ in 0..room + 5 {
            log.record(&span(), &[]);
        }
        assert_eq!(metrics.dropped.at(0).get(), 5);
        let receiver = queue.into_receiver();
        let taken: usize = receiver.try_iter().map(|spans| spans.len()).sum();
        log.flush();
        assert_eq!(taken + receiver.try_iter().map(|spans| spans.len()).sum::<usize>(), room);
        drop(receiver);
        log.record(&span(), &[]);
        log.flush();
        assert_eq!(metrics.dropped.at(0).get(), 6, "nobody sends them on any more");
    }
}
