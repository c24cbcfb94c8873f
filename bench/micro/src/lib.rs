//! The steps of a request as cases: each is prepared once and run again and again, by the clock (`benches/micro.rs`) or
//! under callgrind (`main.rs`).

mod auth;
mod bodies;
mod heads;
mod issuers;
mod limits;
mod log;
mod routes;
mod stage;
mod store;
mod websockets;

/// One step of a request.
pub struct Case {
    /// Its name, `what/how`.
    pub name: &'static str,
    /// Whether it does the same each time: it reads no clock.
    pub is_pure: bool,
    /// Makes what it needs, and gives the step.
    pub prepare: fn() -> Step,
}

/// One turn of a case.
pub type Step = Box<dyn FnMut()>;

/// Every case, in the order in which a request meets them.
pub const CASES: &[Case] = &[
    pure("request/parse/browser", heads::parse_browser),
    pure("request/parse/30-fields", heads::parse_many),
    pure("path/plain", heads::path_plain),
    pure("path/escaped", heads::path_escaped),
    pure("route/exact", routes::exact),
    pure("route/wildcard", routes::wildcard),
    pure("route/unknown", routes::unknown),
    pure("token/hit", auth::hit),
    pure("token/miss", auth::miss),
    pure("token/forged", auth::forged),
    timed("token/hit/es256", issuers::hit),
    timed("token/miss/rs256", issuers::rs256),
    timed("token/miss/rs256-4096", issuers::rs256_4096),
    timed("token/miss/ps256", issuers::ps256),
    timed("token/miss/es256", issuers::es256),
    timed("token/miss/es384", issuers::es384),
    timed("token/miss/eddsa", issuers::eddsa),
    timed("token/unknown-key", issuers::unknown_key),
    timed("limit/memory", limits::memory),
    pure("limit/key", limits::key),
    pure("redis/pack-call", store::pack_call),
    pure("redis/reply", store::reply),
    pure("request/compose/browser", heads::compose_browser),
    pure("request/compose/30-fields", heads::compose_many),
    pure("request/compose/trusted", heads::compose_trusted),
    pure("response/parse", heads::parse_response),
    pure("response/compose", heads::compose_response),
    pure("date", heads::date),
    pure("body/length", bodies::length),
    pure("body/chunked", bodies::chunked),
    pure("body/chunk-size", bodies::chunk_size),
    pure("log/line", log::line),
    pure("websocket/header/small", websockets::small),
    pure("websocket/header/large", websockets::large),
    pure("websocket/track", websockets::track),
];

const fn pure(name: &'static str, prepare: fn() -> Step) -> Case {
    Case { name, is_pure: true, prepare }
}

const fn timed(name: &'static str, prepare: fn() -> Step) -> Case {
    Case { name, is_pure: false, prepare }
}
