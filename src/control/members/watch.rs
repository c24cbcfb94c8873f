//! The thread of names: asks whatever is due, all of it side by side, and tells the rosters what follows.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::directory::{Directory, Question, Turn};
use super::lookup::{Answer, Lookup};
use super::rosters::Rosters;
use super::service::Service;
use crate::clock;
use crate::config::Config;
use crate::control::Target;
use crate::limits::{FIRST_RESOLUTION_MS, HURRIES_QUEUED_MAX, MEMBERS_MAX, QUESTIONS_AT_ONCE_MAX};

/// The thread. Dropping this value stops it; a question to the system's resolver that is under way then ends unheard.
pub struct MemberWatch {
    hurries: mpsc::Sender<Target>,
    first_round: Receiver<()>,
    of: Watched,
}

/// What a watch depends on.
#[derive(Clone, PartialEq, Eq)]
struct Watched {
    services: Vec<Service>,
    refresh: Duration,
    server: Option<SocketAddr>,
}

impl Watched {
    fn new(services: Vec<Service>, config: &Config) -> Watched {
        Watched { services, refresh: config.timeouts.dns_refresh, server: config.dns_server }
    }
}

impl MemberWatch {
    /// Tells the rosters the members that nobody has to be asked for, and starts a thread for the others. If there is a
    /// service of which no member is known, waits up to [`FIRST_RESOLUTION_MS`] until each question has been answered
    /// once. Returns `None` if there is nothing to ask.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn begin(
        services: Vec<Service>,
        config: &Config,
        rosters: &Arc<Rosters>,
    ) -> io::Result<Option<MemberWatch>> {
        let of = Watched::new(services, config);
        let mut directory = Directory::new(of.services.clone(), of.refresh, of.server.is_some());
        tell(&mut directory, rosters);
        if directory.next_due_ms().is_none() {
            return Ok(None);
        }
        let (hurries, hurried) = mpsc::channel(HURRIES_QUEUED_MAX);
        let (round_sender, first_round) = bounded(0);
        let (server, for_thread) = (of.server, rosters.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(QUESTIONS_AT_ONCE_MAX)
            .thread_name("names")
            .build()?;
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            let lookup = Arc::new(Lookup::new(server));
            let round_sender = Some(round_sender);
            let asked = Asked { directory, lookup, rosters: for_thread, hurried, round_sender };
            runtime.block_on(asked.run());
            // A question to the system's resolver cannot be taken back.
            runtime.shutdown_background();
        })?;
        let watch = MemberWatch { hurries, first_round, of };
        // The channel closes when the first round ends. The timeout keeps a slow name server from delaying the start.
        if rosters.lack_members() {
            let _ = watch.first_round.recv_timeout(Duration::from_millis(FIRST_RESOLUTION_MS));
        }
        Ok(Some(watch))
    }

    /// Whether another watch over these services would ask the same in the same way.
    pub fn is_over(&self, services: &[Service], config: &Config) -> bool {
        self.of == Watched::new(services.to_vec(), config)
    }

    /// A connection to a member of this service has failed: its names are asked soon. A thread that has many such
    /// words to read yet needs no more.
    pub fn hurry(&self, target: &Target) {
        let _ = self.hurries.try_send(target.clone());
    }
}

/// What the thread works on.
struct Asked {
    directory: Directory,
    lookup: Arc<Lookup>,
    rosters: Arc<Rosters>,
    hurried: mpsc::Receiver<Target>,
    /// Dropped when every question has been answered once.
    round_sender: Option<Sender<()>>,
}

enum Event {
    Answered(Question, Answer),
    Hurry(Target),
    Time,
    Stop,
}

impl Asked {
    async fn run(mut self) {
        let mut pending = JoinSet::new();
        loop {
            for question in self.directory.due(clock::now_ms()) {
                pending.spawn(self.lookup.clone().ask(question));
            }
            match next(&mut self.hurried, &mut pending, self.directory.next_due_ms()).await {
                Event::Answered(question, answer) => {
                    let turn = self.directory.answered(&question, answer, clock::now_ms());
                    log(&self.directory, &question, turn);
                    tell(&mut self.directory, &self.rosters);
                }
                Event::Hurry(target) => {
                    let service = self.directory.services().iter().position(|known| known.target == target);
                    service.into_iter().for_each(|nth| self.directory.hurry(nth, clock::now_ms()));
                }
                Event::Time => {}
                Event::Stop => return,
            }
            if self.directory.is_settled() {
                self.round_sender = None;
            }
        }
    }
}

/// Waits for what comes next. Each of the waits can be given up without losing anything.
async fn next(
    hurried: &mut mpsc::Receiver<Target>,
    pending: &mut JoinSet<(Question, Answer)>,
    due_ms: Option<u64>,
) -> Event {
    let left_ms = due_ms.map_or(IDLE_MS, |due_ms| due_ms.saturating_sub(clock::now_ms()) + 1);
    let mut time = pin!(tokio::time::sleep(Duration::from_millis(left_ms)));
    poll_fn(|context| {
        match hurried.poll_recv(context) {
            Poll::Ready(Some(target)) => return Poll::Ready(Event::Hurry(target)),
            Poll::Ready(None) => return Poll::Ready(Event::Stop),
            Poll::Pending => {}
        }
        if let Poll::Ready(Some(Ok((question, answer)))) = pending.poll_join_next(context) {
            return Poll::Ready(Event::Answered(question, answer));
        }
        time.as_mut().poll(context).map(|()| Event::Time)
    })
    .await
}

/// Tells the rosters who the members of each service are now. What is found is compared there with what the cores have,
/// and not with what was found before: the thread of an earlier configuration may have told them something older.
fn tell(directory: &mut Directory, rosters: &Rosters) {
    let mut crowded = Vec::new();
    for service in directory.services() {
        let Some(mut members) = directory.members(service) else { continue };
        if members.len() > MEMBERS_MAX {
            crowded.push((service.name.clone(), members.len()));
            members.truncate(MEMBERS_MAX);
        }
        rosters.set_members(&service.target, &members);
    }
    for (service, count) in crowded {
        if directory.say_crowded(&service) {
            warn!(
                service,
                count,
                max = MEMBERS_MAX,
                "the service has too many members: the rest get no requests"
            );
        }
    }
}

fn log(directory: &Directory, question: &Question, turn: Turn) {
    for service in directory.concerned(question) {
        let service = &service.name;
        match (&turn, question) {
            (Turn::None, _) => {}
            (Turn::Failed(error), Question::File(..)) => {
                error!(service, %error, "the file of the service's members is not usable, those before stay");
            }
            (Turn::Failed(error), _) => error!(service, %error, "the service's name does not resolve"),
            (Turn::StillFailed(error, for_ms), Question::File(..)) => {
                warn!(service, %error, for_ms, "the file of the service's members is still not usable");
            }
            (Turn::StillFailed(error, for_ms), _) => {
                warn!(service, %error, for_ms, "the service's name still does not resolve");
            }
            (Turn::Recovered(for_ms), Question::File(..)) => {
                info!(service, for_ms, "the file of the service's members is usable")
            }
            (Turn::Recovered(for_ms), _) => info!(service, for_ms, "the service's name resolves again"),
        }
    }
}

/// How long the thread sleeps if no question is due by the time, in milliseconds.
const IDLE_MS: u64 = 60_000;
