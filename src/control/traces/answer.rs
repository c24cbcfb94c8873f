//! What a collector's answer means for the spans that it was sent.

use std::time::Duration;

use prost::Message;

use crate::limits::SPANS_PAUSE_MS_MAX;
use crate::telemetry::spans::otlp::ExportResponse;

/// What a collector has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Retry-After`, in seconds.
    pub(super) retry_after_s: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are there, but for so many that the collector does not want, for this reason.
    Taken { rejected: u64, why: String },
    /// They may be sent once more, after at least this time.
    Later(Option<Duration>),
    /// They will never be taken.
    Refused,
}

impl Answer {
    /// "The client SHOULD … retry" 429, 502, 503 and 504 alone; "All other 4xx or 5xx response status codes MUST NOT
    /// be retried" (OTLP, Failures).
    pub(super) fn verdict(&self) -> Verdict {
        match self.status {
            200..=299 => {
                let partial =
                    ExportResponse::decode(&self.body[..]).ok().and_then(|answer| answer.partial_success);
                let partial = partial.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
                Verdict::Taken { rejected, why: partial.error_message }
            }
            429 | 502 | 503 | 504 => {
                let ms = self.retry_after_s.map(|s| s.saturating_mul(1_000).min(SPANS_PAUSE_MS_MAX));
                Verdict::Later(ms.map(Duration::from_millis))
            }
            _ => Verdict::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::spans::otlp::PartialSuccess;

    fn verdict(status: u16, retry_after_s: Option<u64>, body: &[u8]) -> Verdict {
        Answer { status, retry_after_s, body: body.to_vec() }.verdict()
    }

    #[test]
    fn only_what_may_pass_is_sent_once_more() {
        assert_eq!(verdict(200, None, b""), Verdict::Taken { rejected: 0, why: String::new() });
        for status in [429, 502, 503, 504] {
            assert_eq!(verdict(status, None, b""), Verdict::Later(None), "{status}");
            assert_eq!(verdict(status, Some(7), b""), Verdict::Later(Some(Duration::from_secs(7))));
            let longest = Duration::from_millis(SPANS_PAUSE_MS_MAX);
            assert_eq!(verdict(status, Some(u64::MAX), b""), Verdict::Later(Some(longest)));
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert_eq!(verdict(status, Some(1), b""), Verdict::Refused, "{status}");
        }
    }

    #[test]
    fn a_collector_may_take_some_and_may_answer_anything() {
        let partial_success = Some(PartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() });
        let body = ExportResponse { partial_success }.encode_to_vec();
        assert_eq!(verdict(200, None, &body), Verdict::Taken { rejected: 3, why: "too old".to_owned() });
        for body in [&b"{}"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x0a\x7f"] {
            assert_eq!(verdict(200, None, body), Verdict::Taken { rejected: 0, why: String::new() });
        }
        let partial_success = Some(PartialSuccess { rejected_spans: -1, error_message: String::new() });
        let negative = ExportResponse { partial_success }.encode_to_vec();
        assert_eq!(verdict(200, None, &negative), Verdict::Taken { rejected: 0, why: String::new() });
    }
}
