//! Bounds of traces.

/// Spans that one core gathers before it hands them over. Over it: they go to the queue at once.
pub const SPANS_GATHERED_MAX: usize = 128;
/// Hand-overs that wait for who sends them on, of all cores. Over it: the cores keep what they have gathered, and
/// drop and count what comes on top of that.
pub const SPAN_QUEUE: usize = 32;
/// The longest text of a span, in bytes. Over it: it is cut.
pub const SPAN_TEXT_BYTES_MAX: usize = 1024;
/// Spans in one request to the collector. Over it: the rest is in the next one.
pub const SPANS_SENT_MAX: usize = 2_048;
/// How long spans wait for more to be sent with them, in milliseconds.
pub const SPANS_WAIT_MS: u64 = 1_000;
/// How often one request to the collector is made. Over it: its spans are dropped and counted.
pub const SPANS_ATTEMPTS_MAX: u32 = 5;
/// The first pause before a request to the collector is made once more, in milliseconds. Each further one is twice as
/// long.
pub const SPANS_PAUSE_MS: u64 = 500;
/// The longest pause, in milliseconds: also where the collector asks for a longer one.
pub const SPANS_PAUSE_MS_MAX: u64 = 30_000;
/// The longest answer of a collector that is read, in bytes. Over it: it counts as garbled.
pub const SPANS_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the end of the process waits for the last spans, in milliseconds. Over it: they are lost.
pub const SPANS_FINISH_MS: u64 = 1_000;
/// Fields for the collector, and attributes of the gateway. Over it: a mistake.
pub const OTEL_PAIRS_MAX: usize = 32;
/// The longest name or value of these, in bytes. Over it: a mistake.
pub const OTEL_TEXT_BYTES_MAX: usize = 256;
/// The longest time that an operator may give a collector for one request, in milliseconds.
pub const OTEL_TIMEOUT_MS_MAX: u64 = 600_000;

const _: () = assert!(SPANS_GATHERED_MAX <= SPANS_SENT_MAX);
