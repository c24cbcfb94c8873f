//! Opens a connection to the first of several addresses that accepts one, and does not wait for one that is slow to
//! (Happy Eyeballs, RFC 8305).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use super::connect::{Candidate, ConnectError};
use crate::clock;
use crate::limits::{CONNECT_RACE_MS, CONNECTS_RACED_MAX};
use crate::net::Timers;

/// One attempt that is under way. It only ever waits for a poll, so it may be dropped at any time.
struct Attempt<C, F> {
    candidate: C,
    begun_ms: u64,
    attempt: Pin<Box<F>>,
}

/// Connects to the first candidate that accepts. The next one is tried after [`CONNECT_RACE_MS`], or at once when one
/// fails; each one is tried, until the coarse clock shows `deadline_ms`. A candidate that others have overtaken counts
/// as failed.
///
/// # Errors
/// Why the last candidate failed.
pub async fn race<C, F, T>(
    mut candidates: impl FnMut() -> Option<C>,
    attempt: impl Fn(&C) -> F,
    timers: &Timers,
    deadline_ms: u64,
) -> Result<(T, C), ConnectError>
where
    C: Candidate,
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut racing: Vec<Attempt<C, F>> = Vec::new();
    let mut failure = ConnectError::NoAddress;
    loop {
        let now_ms = clock::now_ms();
        let mut may_follow = racing.len() < CONNECTS_RACED_MAX;
        if may_follow {
            match candidates() {
                Some(candidate) => {
                    let attempt = Box::pin(attempt(&candidate));
                    racing.push(Attempt { candidate, begun_ms: now_ms, attempt });
                }
                None => may_follow = false,
            }
        }
        if racing.is_empty() {
            return Err(failure);
        }
        let wake_ms = if may_follow { deadline_ms.min(now_ms + CONNECT_RACE_MS) } else { deadline_ms };
        let ended = {
            let first = pin!(first(&mut racing));
            timers.until(wake_ms, first).await
        };
        match ended {
            Ok((place, Ok(connection))) => {
                let winner = racing.swap_remove(place);
                let overtaken = racing.iter().filter(|other| other.begun_ms < winner.begun_ms);
                overtaken.for_each(|other| other.candidate.failed(&ConnectError::TimedOut));
                return Ok((connection, winner.candidate));
            }
            Ok((place, Err(error))) => {
                racing.swap_remove(place).candidate.failed(&error);
                failure = error;
            }
            Err(_) if clock::now_ms() >= deadline_ms => {
                racing.iter().for_each(|other| other.candidate.failed(&ConnectError::TimedOut));
                return Err(ConnectError::TimedOut);
            }
            // The next one follows.
            Err(_) => {}
        }
    }
}

/// The first attempt that ends: its place, and how.
fn first<C, F, T>(racing: &mut [Attempt<C, F>]) -> impl Future<Output = (usize, Result<T, ConnectError>)>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    poll_fn(move |context| {
        for (place, one) in racing.iter_mut().enumerate() {
            if let Poll::Ready(ended) = one.attempt.as_mut().poll(context) {
                return Poll::Ready((place, ended));
            }
        }
        Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::{Preference, ThreadRuntime};
    use crate::net::{Endpoint, Io};
    use rustix::io::Errno;
    use std::cell::{Cell, RefCell};
    use std::future::pending;
    use std::rc::Rc;

    /// What becomes of an attempt to connect.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Refused,
        Silent,
        Accepted,
    }

    struct Known {
        fate: Fate,
        endpoint: Endpoint,
        failed: Rc<Cell<u32>>,
    }

    impl Candidate for Known {
        fn endpoint(&self) -> &Endpoint {
            &self.endpoint
        }

        fn failed(&self, _: &ConnectError) {
            self.failed.set(self.failed.get() + 1);
        }
    }

    /// The error or the winner's fate; how many attempts there were, how many failed, and how long it took.
    fn raced(fates: &[Fate], limit_ms: u64) -> (Result<Fate, &'static str>, usize, u32, u64) {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async {
            let io = Rc::new(Io::default());
            let ticking = io.clone();
            monoio::spawn(async move {
                loop {
                    monoio::time::sleep(std::time::Duration::from_millis(10)).await;
                    ticking.timers.tick(clock::now_ms());
                }
            });
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let endpoint = Endpoint::tcp(listener.local_addr().expect("an address"));
            let (failed, attempts) = (Rc::new(Cell::new(0)), Cell::new(0));
            let left = RefCell::new(fates.iter());
            let next = || {
                let fate = *left.borrow_mut().next()?;
                Some(Known { fate, endpoint: endpoint.clone(), failed: failed.clone() })
            };
            let begun_ms = clock::now_ms();
            let deadline_ms = begun_ms + limit_ms;
            let attempt = |known: &Known| {
                attempts.set(attempts.get() + 1);
                let (fate, endpoint, timers) = (known.fate, known.endpoint.clone(), &io.timers);
                async move {
                    match fate {
                        Fate::Refused => Err(ConnectError::Failed(Errno::CONNREFUSED.into())),
                        Fate::Silent => pending().await,
                        Fate::Accepted => crate::net::connect(&endpoint, timers, deadline_ms).await,
                    }
                }
            };
            let won = race(next, attempt, &io.timers, deadline_ms).await;
            let won = won.map(|(_, known)| known.fate).map_err(|error| error.cause());
            (won, attempts.get(), failed.get(), clock::now_ms() - begun_ms)
        })
    }

    #[test]
    fn every_address_that_refuses_is_tried_at_once() {
        let mut fates = vec![Fate::Refused; 40];
        fates.push(Fate::Accepted);
        let (won, attempts, failed, took_ms) = raced(&fates, 5_000);
        // Well under 40 waits for the next one.
        assert!(won == Ok(Fate::Accepted) && attempts == 41 && failed == 40);
        assert!(took_ms < 20 * CONNECT_RACE_MS, "{took_ms}");
        let (won, attempts, failed, _) = raced(&[Fate::Refused; 5], 5_000);
        assert_eq!((won, attempts, failed), (Err("ECONNREFUSED"), 5, 5));
    }

    #[test]
    fn one_that_says_nothing_is_overtaken() {
        let (won, attempts, failed, took_ms) =
            raced(&[Fate::Silent, Fate::Silent, Fate::Accepted, Fate::Accepted], 5_000);
        // The fourth one follows only where this machine takes so long to accept.
        assert!(won == Ok(Fate::Accepted) && (3..=4).contains(&attempts) && failed >= 2);
        assert!(took_ms >= 2 * CONNECT_RACE_MS, "{took_ms}");
    }

    #[test]
    fn the_deadline_is_one_for_all_and_few_are_raced_at_a_time() {
        let (won, attempts, failed, took_ms) = raced(&[Fate::Silent, Fate::Refused], 400);
        assert_eq!((won, attempts, failed), (Err("connect_timeout"), 2, 2));
        assert!(took_ms >= 390, "{took_ms}");
        let (won, attempts, ..) = raced(&[Fate::Silent; 40], CONNECT_RACE_MS * 12);
        assert!(won == Err("connect_timeout") && (2..=CONNECTS_RACED_MAX).contains(&attempts), "{attempts}");
    }

    #[test]
    fn without_a_candidate_there_is_no_address() {
        assert_eq!(raced(&[], 1_000).0, Err("no_address"));
    }
}
