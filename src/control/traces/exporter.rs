//! The thread that sends spans on.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use prost::Message;
use tracing::{info, warn};

use super::answer::Verdict;
use super::post::Collector;
use crate::admin::SpanFigures;
use crate::config::Traces;
use crate::limits::{
    SPANS_ATTEMPTS_MAX, SPANS_FINISH_MS, SPANS_PAUSE_MS, SPANS_PAUSE_MS_MAX, SPANS_SENT_MAX, SPANS_WAIT_MS,
};
use crate::telemetry::metrics::Counter;
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::spans::otlp::{
    ExportRequest, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};

/// The handle of the thread. Dropped, the thread goes on as long as the process; [`finish`](Self::finish) ends it.
pub struct TraceExporter {
    figures: Arc<TraceFigures>,
    finish: Sender<()>,
    done: Receiver<()>,
}

/// What has become of spans.
#[derive(Debug, Default)]
pub struct TraceFigures {
    /// The collector has them.
    pub exported: Counter,
    /// The collector could not be reached, or was not ready, for too long.
    pub undelivered: Counter,
    /// The collector does not want them.
    pub refused: Counter,
}

impl TraceFigures {
    /// As they stand.
    pub fn get(&self) -> SpanFigures {
        SpanFigures {
            exported: self.exported.get(),
            undelivered: self.undelivered.get(),
            refused: self.refused.get(),
        }
    }
}

impl TraceExporter {
    /// Starts the thread. `None`: spans have nowhere to go.
    ///
    /// # Errors
    /// The collector cannot be spoken to, or there is no thread.
    pub fn start(traces: &Traces, queue: SpanQueue) -> io::Result<Option<TraceExporter>> {
        let Some(url) = traces.url() else { return Ok(None) };
        let collector = Collector::new(&url, &traces.headers, traces.timeout).map_err(io::Error::other)?;
        let (finish, finishing) = bounded(1);
        let (running, done) = bounded(0);
        let figures = Arc::<TraceFigures>::default();
        let mut worker = Worker {
            collector,
            resource: resource(traces),
            spans: queue.into_receiver(),
            finishing,
            figures: figures.clone(),
            is_failing: false,
        };
        thread::Builder::new().name("traces".into()).spawn(move || {
            worker.run();
            drop(running);
        })?;
        Ok(Some(TraceExporter { figures, finish, done }))
    }

    /// What has become of spans.
    pub fn figures(&self) -> Arc<TraceFigures> {
        self.figures.clone()
    }

    /// Sends what is queued, once, and ends the thread. To be called after the last flush of every core.
    pub fn finish(self) {
        let _ = self.finish.try_send(());
        // Nothing is ever sent: the thread has ended, or the time is over.
        let _ = self.done.recv_timeout(Duration::from_millis(SPANS_FINISH_MS));
    }
}

struct Worker {
    collector: Collector,
    resource: Resource,
    spans: Receiver<Vec<Span>>,
    finishing: Receiver<()>,
    figures: Arc<TraceFigures>,
    /// The last request has failed: one line tells when that begins, and one when it is over.
    is_failing: bool,
}

/// Whether the process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    GoesOn,
    Ends,
}

impl Worker {
    fn run(&mut self) {
        loop {
            let (gathered, life) = self.gather();
            if !gathered.is_empty() {
                self.send(gathered, life);
            }
            if life == Life::Ends {
                return;
            }
        }
    }

    /// Takes what has come, until there is enough or the first has waited for long enough.
    fn gather(&self) -> (Vec<Span>, Life) {
        let mut gathered = Vec::new();
        let mut due: Option<Instant> = None;
        while gathered.len() < SPANS_SENT_MAX {
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            let wait = wait.unwrap_or(Duration::from_millis(SPANS_WAIT_MS));
            crossbeam_channel::select! {
                recv(self.spans) -> spans => match spans {
                    Ok(spans) => {
                        gathered.extend(spans);
                        due = due.or(Some(Instant::now() + Duration::from_millis(SPANS_WAIT_MS)));
                    }
                    Err(_) => return (gathered, Life::Ends),
                },
                recv(self.finishing) -> _ => {
                    self.spans.try_iter().for_each(|spans| gathered.extend(spans));
                    return (gathered, Life::Ends);
                }
                default(wait) => if due.is_some() { break },
            }
        }
        (gathered, Life::GoesOn)
    }

    /// Sends them, once more if the collector may take them then. A process that ends has no time for that.
    fn send(&mut self, spans: Vec<Span>, mut life: Life) {
        let count = spans.len() as u64;
        let body = self.body(spans);
        let mut pause = Duration::from_millis(SPANS_PAUSE_MS);
        for attempt in 1..=SPANS_ATTEMPTS_MAX {
            let patience = Duration::from_millis(if life == Life::Ends { SPANS_FINISH_MS } else { u64::MAX });
            let (wait, why) = match self.collector.post(&body, patience) {
                Ok(answer) => match answer.verdict() {
                    Verdict::Taken { rejected, why } => return self.taken(count, rejected.min(count), &why),
                    Verdict::Later(wait) => (wait, format!("status {}", answer.status)),
                    Verdict::Refused => return self.refused(count, answer.status),
                },
                Err(error) => (None, error.to_string()),
            };
            self.fails(&why);
            if attempt == SPANS_ATTEMPTS_MAX || life == Life::Ends {
                break;
            }
            // The end of the process ends the pause, and there is one more attempt.
            let ends = self.finishing.recv_timeout(wait.unwrap_or(pause));
            if ends != Err(RecvTimeoutError::Timeout) {
                life = Life::Ends;
            }
            pause = (pause * 2).min(Duration::from_millis(SPANS_PAUSE_MS_MAX));
        }
        self.figures.undelivered.add(count);
    }

    fn body(&self, spans: Vec<Span>) -> Vec<u8> {
        let (name, version) = ("realchat-gateway".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let scope_spans = vec![ScopeSpans { scope: Some(Scope { name, version }), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        ExportRequest { resource_spans }.encode_to_vec()
    }

    fn taken(&mut self, count: u64, rejected: u64, why: &str) {
        self.figures.exported.add(count - rejected);
        self.figures.refused.add(rejected);
        if rejected > 0 {
            warn!(rejected, why = shown(why), "traces: the collector does not take all spans");
        }
        if std::mem::take(&mut self.is_failing) {
            info!("traces: the collector takes spans again");
        }
    }

    fn refused(&mut self, count: u64, status: u16) {
        self.figures.refused.add(count);
        self.fails(&format!("status {status}, which is final"));
    }

    fn fails(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            warn!(
                why = shown(why),
                "traces: the collector does not take spans; what it does not take is dropped"
            );
        }
    }
}

/// What the gateway is: its name, its version, and what the operator says of it, whose word holds.
fn resource(traces: &Traces) -> Resource {
    let mut attributes = vec![
        KeyValue::text("service.name", traces.service_name.as_str()),
        KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
    ];
    for (name, value) in &traces.resource {
        // The name has a setting of its own, which has precedence (OpenTelemetry, Environment Variables).
        attributes.retain(|known| known.key != *name || name == "service.name");
        if name != "service.name" {
            attributes.push(KeyValue::text(name, value.as_str()));
        }
    }
    Resource { attributes }
}

/// Words of the collector's, on one line and bounded.
fn shown(why: &str) -> String {
    why.chars().take(WHY_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Characters of a collector's reason in the log. Over it: it is cut.
const WHY_CHARS_MAX: usize = 200;
