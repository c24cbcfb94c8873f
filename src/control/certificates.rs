//! The watch over certificates: a thread that sees other files at the configured paths and puts them in force, renews
//! the process's own ticket keys, and warns before a certificate expires. It hands the cores the challenges of a
//! certificate authority as well.
//!
//! Whoever renews a certificate writes two files, one after the other, or leads two links elsewhere. For that moment
//! they do not match: the watch then looks again, and the pair before stays in use.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tracing::{error, warn};

use super::reload::Reload;
use super::stamp::{Stamp, stamp};
use crate::clock;
use crate::limits::{CERTIFICATES_LOOK_MS, CERTIFICATES_SETTLE_MS, CHALLENGES_LOOK_MS};
use crate::tls::{Certificate, Termination};

/// The thread. Dropping this value stops it after its current look.
pub struct CertificateWatch {
    _stop_sender: Sender<()>,
}

impl CertificateWatch {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(reload: Arc<Reload>) -> io::Result<CertificateWatch> {
        let (stop_sender, stop) = bounded::<()>(0);
        let has_challenges = reload.running.get().https.challenges.is_some();
        let interval_ms = if has_challenges { CHALLENGES_LOOK_MS } else { CERTIFICATES_LOOK_MS };
        let mut watch = Watch { reload, seen: Vec::new(), unsettled: None, warned: Warned::default() };
        thread::Builder::new().name("certificates".to_owned()).spawn(move || {
            let mut looked_ms = clock::now_ms();
            watch.look(looked_ms);
            // Nothing is sent on this channel: the call ends with the timeout or when `CertificateWatch` is dropped.
            let interval = Duration::from_millis(interval_ms);
            while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                watch.reload.renew_challenges();
                let now_ms = clock::now_ms();
                if now_ms - looked_ms + interval_ms > CERTIFICATES_LOOK_MS {
                    looked_ms = now_ms;
                    watch.look(now_ms);
                }
            }
        })?;
        Ok(CertificateWatch { _stop_sender: stop_sender })
    }
}

struct Watch {
    reload: Arc<Reload>,
    seen: Vec<Stamp>,
    /// Since when there are other files that are not in force, by the coarse clock.
    unsettled: Option<u64>,
    warned: Warned,
}

impl Watch {
    fn look(&mut self, now_ms: u64) {
        let now_unix_s = clock::unix_s();
        let files = Termination::files(&self.reload.running.get().tls);
        let stamps: Vec<Stamp> = files.iter().map(|path| stamp(path)).collect();
        if stamps != self.seen {
            self.seen = stamps;
            self.unsettled = Some(now_ms);
        }
        if let Some(since_ms) = self.unsettled {
            match self.reload.renew_certificates() {
                Ok(()) => self.unsettled = None,
                Err(mistakes) if now_ms - since_ms >= CERTIFICATES_SETTLE_MS => {
                    mistakes.iter().for_each(|mistake| error!("certificates: {mistake}"));
                    error!("certificates: not renewed, those before stay in use");
                    self.unsettled = None;
                }
                Err(_) => {}
            }
        }
        self.reload.rotate_ticket_keys(now_unix_s);
        let current = self.reload.cores.configuration().tls.clone();
        if let Some(tls) = current {
            tls.certificates().iter().for_each(|certificate| self.warned.judge(certificate, now_unix_s));
        }
    }
}

/// What was said about the expiry of each certificate.
#[derive(Default)]
struct Warned(HashMap<String, (u64, Expiry)>);

/// How near the expiry of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// In at most so many days.
    Within(i64),
    Over,
}

impl Warned {
    /// Says once that the expiry has come nearer.
    fn judge(&mut self, certificate: &Certificate, now_unix_s: u64) {
        let Certificate { subject, facts, .. } = certificate;
        let left = facts.days_left(now_unix_s);
        let Some(expiry) = expiry(left) else { return };
        let said = self.0.insert(subject.clone(), (facts.expires_unix_s, expiry));
        if said == Some((facts.expires_unix_s, expiry)) {
            return;
        }
        let (names, date) = (facts.names(), facts.expiry_date());
        match expiry {
            Expiry::Over => error!(names, "{subject}: the certificate expired on {date}, clients refuse it"),
            Expiry::Within(_) => warn!(names, "{subject}: the certificate expires on {date}, in {left} days"),
        }
    }
}

fn expiry(days_left: i64) -> Option<Expiry> {
    match days_left {
        ..0 => Some(Expiry::Over),
        _ => WARNED_DAYS.into_iter().find(|days| days_left <= *days).map(Expiry::Within),
    }
}

/// So many days before the expiry there is a line in the log. Certbot and lego renew 30 days before.
const WARNED_DAYS: [i64; 3] = [1, 7, 21];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_comes_nearer_in_four_steps() {
        let mut steps: Vec<Option<Expiry>> = (-3..40).rev().map(expiry).collect();
        steps.dedup();
        let within = |days| Some(Expiry::Within(days));
        assert_eq!(steps, [None, within(21), within(7), within(1), Some(Expiry::Over)]);
    }
}
