//! The operator's window: health and metrics, on the control thread, read-only, as strict as the public port.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::clock;
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::Readiness;
use crate::http1::{Framing, HeadLimits, HeadScan, Method, RequestHead};
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_TIMEOUT_MS, LINGER_MS};
use crate::net::listener::{Listener, Socket};
use crate::net::runtime::Driver;
use crate::net::{Buffer, BufferPool, NEVER, Pace, Sink, Timers, Transport};
use crate::telemetry::metrics::Counter;
use crate::telemetry::metrics::prometheus::{self, Extra};

/// What the window shows.
pub struct Admin {
    /// The process's readiness.
    pub readiness: Arc<Readiness>,
    /// Each core's CPU, driver and numbers.
    pub cores: Vec<(usize, Driver, Metrics)>,
    /// The control thread's driver.
    pub control: Driver,
    /// Access-log lines that the sink did not take; `None`: no access log.
    pub access_log_refused: Option<Arc<Counter>>,
    /// The waits of the control thread.
    pub timers: Rc<Timers>,
    /// Its buffers.
    pub buffers: Rc<BufferPool>,
    /// The listener is another process's by now.
    pub is_left: Rc<Cell<bool>>,
}

/// Serves the admin listener for as long as the runtime runs, or until it is another process's.
pub async fn serve(admin: Rc<Admin>, listener: Socket) -> std::io::Result<()> {
    let listener = Listener::new(listener)?;
    let open: Rc<Cell<usize>> = Rc::default();
    loop {
        if !waiting(&admin, &listener).await? {
            return Ok(());
        }
        match listener.try_accept() {
            Ok(Some((stream, peer))) if open.get() < ADMIN_CONNECTIONS_MAX => {
                open.set(open.get() + 1);
                let (admin, open) = (admin.clone(), open.clone());
                monoio::spawn(async move {
                    converse(&admin, stream, peer).await;
                    open.set(open.get() - 1);
                });
            }
            Ok(_) => {}
            // Out of descriptors, mostly: this window waits like any other listener.
            Err(_) => admin.timers.sleep_until(clock::now_ms() + 100).await,
        }
    }
}

/// Waits for a connection. False: whoever comes is not ours.
async fn waiting(admin: &Admin, listener: &Listener) -> std::io::Result<bool> {
    let mut readable = pin!(listener.readable());
    let or_left = poll_fn(|context| match readable.as_mut().poll(context) {
        _ if admin.is_left.get() => Poll::Ready(Ok(false)),
        Poll::Ready(readable) => Poll::Ready(readable.map(|()| true)),
        Poll::Pending => Poll::Pending,
    });
    admin.timers.until(NEVER, or_left).await.unwrap_or(Ok(false))
}

/// Requests one after the other, until the client closes, errs or dawdles.
async fn converse(admin: &Admin, stream: Transport, _peer: SocketAddr) {
    let mut buffer = admin.buffers.buffer();
    let mut head = RequestHead::default();
    while let Some(answer) = next(admin, &stream, &mut buffer, &mut head).await {
        let keep_alive = answer.keep_alive;
        if send(admin, &stream, answer).await.is_none() {
            return;
        }
        if !keep_alive {
            stream.shutdown_write();
            let deadline = clock::now_ms() + LINGER_MS;
            // What is left unread at the close would be a reset, which eats the answer.
            buffer.clear();
            while let Ok(1..) = stream.recv(&mut buffer, &admin.timers, deadline).await {
                buffer.clear();
            }
            return;
        }
    }
}

struct Answer {
    status: u16,
    reason: &'static str,
    content_type: &'static str,
    body: String,
    keep_alive: bool,
    is_head: bool,
}

/// Waits for a request and finds its answer. `None`: nobody is there any more.
async fn next(
    admin: &Admin,
    stream: &Transport,
    buffer: &mut Buffer,
    head: &mut RequestHead,
) -> Option<Answer> {
    let limits = HeadLimits::default();
    let deadline = clock::now_ms() + ADMIN_TIMEOUT_MS;
    let mut scan = HeadScan::default();
    loop {
        let broken = match scan.advance(buffer.filled(), &limits) {
            Ok(None) => {
                stream.recv(buffer, &admin.timers, deadline).await.ok().filter(|n| *n > 0)?;
                continue;
            }
            Ok(Some(length)) => {
                let parsed = head.parse(&mut buffer.filled_mut()[..length], &limits);
                let answer = parsed.map(|()| admin.answer(head, &buffer.filled()[..length]));
                buffer.consume(length);
                match answer {
                    Ok(answer) => return Some(answer),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let body = format!("{}\n", broken.detail());
        let content_type = "text/plain; charset=utf-8";
        let (status, reason) = (broken.status(), "Refused");
        return Some(Answer { status, reason, content_type, body, keep_alive: false, is_head: false });
    }
}

impl Admin {
    fn answer(&self, head: &RequestHead, bytes: &[u8]) -> Answer {
        let is_read = matches!(head.method, Method::Get | Method::Head);
        let text = "text/plain; charset=utf-8";
        let metrics = "text/plain; version=0.0.4; charset=utf-8";
        let (status, reason, content_type, body) = match head.target.path(bytes) {
            b"/healthz" | b"/readyz" | b"/metrics" if !is_read => {
                (405, "Method Not Allowed", text, "GET only\n".into())
            }
            b"/healthz" => (200, "OK", text, "ok\n".into()),
            b"/readyz" if self.readiness.get().is_ready() => (200, "OK", text, self.readiness_text()),
            b"/readyz" => (503, "Service Unavailable", text, self.readiness_text()),
            b"/metrics" => (200, "OK", metrics, self.metrics()),
            _ => (404, "Not Found", text, "not found\n".into()),
        };
        // A body is nothing to wait for here.
        let keep_alive = head.keep_alive && head.framing == Framing::None;
        Answer { status, reason, content_type, body, keep_alive, is_head: head.method == Method::Head }
    }

    fn readiness_text(&self) -> String {
        let mut text = format!("{}\n", self.readiness.get().text());
        for (index, (cpu, driver, metrics)) in self.cores.iter().enumerate() {
            let redis = if metrics.redis.breaker_open.get() > 0 { ", redis out of reach" } else { "" };
            text.push_str(&format!("core {index}: cpu {cpu}, {driver}{redis}\n"));
        }
        text.push_str(&format!("control: {}\n", self.control));
        text
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        let cores = self.cores.iter().map(|(cpu, driver, metrics)| prometheus::Core {
            cpu: *cpu,
            driver: driver.text(),
            metrics,
        });
        let cores: Vec<_> = cores.collect();
        let control = [("driver", self.control.text())];
        let mut extra = vec![Extra {
            name: "control_driver",
            kind: "gauge",
            help: "The I/O driver of the control thread.",
            labels: &control,
            value: 1,
        }];
        extra.extend(self.access_log_refused.as_ref().map(|refused| Extra {
            name: "access_log_lines_refused",
            kind: "counter",
            help: "Access-log lines that could not be written: a full disk, a closed pipe.",
            labels: &[],
            value: refused.get(),
        }));
        prometheus::render(&cores, &Metrics::default(), &extra, &mut text);
        text
    }
}

async fn send(admin: &Admin, stream: &Transport, answer: Answer) -> Option<()> {
    let Answer { status, reason, content_type, body, keep_alive, is_head } = answer;
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n{allow}{connection}\r\n"
    );
    let mut sink = Sink::new(stream, &admin.timers, admin.buffers.buffer(), Pace::new(ADMIN_TIMEOUT_MS, 0));
    sink.gather(head.as_bytes()).await.ok()?;
    if !is_head {
        sink.write(body.as_bytes()).await.ok()?;
    }
    sink.flush().await.ok()
}
