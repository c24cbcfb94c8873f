//! Bounds of members: what is asked about them, and how their health is judged.

/// Members of one upstream. Over it: the configuration, or the file that lists them, is refused; of what names lead to,
/// the first in order of their addresses are kept, and the log says so.
pub const MEMBERS_MAX: usize = 256;
/// Addresses of one upstream name. Over it: further ones are ignored.
pub const ADDRESSES_MAX: usize = 64;
/// The largest weight of an item of `urls`. Over it: the configuration is refused.
pub const WEIGHT_MAX: u32 = 1_000;
/// The longest path of a health check, in bytes. Over it: the configuration is refused.
pub const HEALTH_PATH_BYTES_MAX: usize = 1_024;
/// Statuses that a health check may expect. Over it: the configuration is refused.
pub const HEALTH_EXPECTED_MAX: usize = 16;
/// The largest `rise` and `fall` of a health check. Over it: the configuration is refused.
pub const HEALTH_COUNT_MAX: u32 = 100;
/// How often the control thread looks at what the cores have seen of each member, in milliseconds.
pub const HEALTH_LOOK_MS: u64 = 250;
/// Probes of members that are under way at one time. Over it: the next ones wait for one to end.
pub const PROBES_AT_ONCE_MAX: usize = 64;
/// The largest body of an answer to a probe, in bytes. Over it: the probe fails.
pub const HEALTH_BODY_BYTES_MAX: usize = 64 * 1024;
/// How long the start waits until every member was probed once, in milliseconds. Over it: it goes on without the rest.
pub const HEALTH_FIRST_MS: u64 = 2_000;
/// Failures of a member over all cores, without a look between them in which there was a success. From then on it is
/// ejected.
pub const FAILURES_IN_A_ROW_MAX: u64 = 5;
/// Failed connections to a member over all cores, likewise. Fewer, because a core to which it accepted none tries it
/// again only after 1, 2, 4 … seconds.
pub const CONNECTS_FAILED_IN_A_ROW_MAX: u64 = 3;
/// How long a member is ejected for the first time, in milliseconds; so much longer each further time.
pub const EJECT_MS_FIRST: u64 = 10_000;
/// How long a member is ejected at most, in milliseconds, before jitter.
pub const EJECT_MS_MAX: u64 = 300_000;
/// How often the rates of success of an upstream's members are compared, in milliseconds.
pub const OUTLIER_WINDOW_MS: u64 = 10_000;
/// Requests of a member in that time without which its rate says nothing.
pub const OUTLIER_REQUESTS_MIN: u64 = 100;
/// Members with a rate without which there is nothing to compare.
pub const OUTLIER_MEMBERS_MIN: usize = 5;
/// For how long a member has to be well before the log says that its failure is over, in milliseconds.
pub const MEMBER_FAILING_WINDOW_MS: u64 = 1_000;
/// From one line in the log about a member that fails, or a name that does not resolve, to the next, in milliseconds.
pub const MEMBER_FAILING_LOG_MS: u64 = 10_000;
/// Members of one upstream that the log names while they fail. Over it: it only says that there are more.
pub const MEMBERS_FAILING_NAMED_MAX: usize = 8;
/// The shortest time from one question for a name or its failure to the next, in milliseconds.
pub const ASK_AGAIN_MS: u64 = 1_000;
/// Questions for names and files that are under way at one time. Over it: the next ones wait for an answer.
pub const QUESTIONS_AT_ONCE_MAX: usize = 64;
/// How long a DNS server may take to answer, in milliseconds. Over it: it is asked once more, then the answer is none.
pub const DNS_TIMEOUT_MS: u64 = 2_000;
/// SRV records of one name. Over it: those of the highest priorities, and the last by name among equals, are ignored.
pub const SRV_TARGETS_MAX: usize = 256;
/// How often a file of members is looked at, in milliseconds.
pub const MEMBERS_FILE_LOOK_MS: u64 = 1_000;
/// Services whose names should be asked soon, and of which the thread of names has not read yet. Over it: the word is
/// lost, and said again with the next failure.
pub const HURRIES_QUEUED_MAX: usize = 64;
/// How long the start waits for the upstreams' names to resolve, in milliseconds. Over it: it goes on without them.
pub const FIRST_RESOLUTION_MS: u64 = 2_000;
/// The longest name of a header field in a configuration, in bytes: what a route asks for or changes, where a token
/// stands, what requests are kept with one member by. Over it: the configuration is refused.
pub const FIELD_NAME_BYTES_MAX: usize = 64;
/// The longest time that a new member may take to its whole weight, in seconds. Over it: the configuration is refused.
pub const SLOW_START_MAX_S: u64 = 3_600;
/// How long an address of an upstream may take to accept before the next one is tried as well, in milliseconds (RFC
/// 8305 §8 recommends 250).
pub const CONNECT_RACE_MS: u64 = 250;
/// Addresses that are connected to at one time for one request. Over it: the next one waits until one of them has
/// failed.
pub const CONNECTS_RACED_MAX: usize = 8;
/// With fewer members there is no race.
pub const RACE_MEMBERS_MIN: usize = 2;
/// Idle connections that are closed because one new one found no file descriptor. Over it: the new one fails.
pub const DESCRIPTORS_FREED_MAX: usize = 4;
/// Long responses from one upstream at a time, as a multiple of its requests in flight. Over it: 503 `overloaded`.
pub const STREAMS_PER_IN_FLIGHT: usize = 8;
/// How long a response may go on until it counts as a long one, in milliseconds.
pub const STREAM_AFTER_MS: u64 = 5_000;
/// Members of one upstream of which a core uses each. Over it: it uses a part of them, [`MEMBERS_OF_CORE`] or a few
/// more.
pub const MEMBERS_WITHOUT_SUBSET: usize = 32;
/// Members of a larger upstream that one core uses.
pub const MEMBERS_OF_CORE: usize = 16;

const _: () = assert!(MEMBERS_OF_CORE < MEMBERS_WITHOUT_SUBSET && MEMBERS_WITHOUT_SUBSET < MEMBERS_MAX);
const _: () = assert!(MEMBERS_MAX.is_multiple_of(64) && ADDRESSES_MAX <= MEMBERS_MAX);
