//! Configuration: turns what an operator wrote into a valid [`Config`], the same for every core.
//!
//! [`Written`] holds the texts of flags, environment and file. [`lower()`] gives them their meaning and reports every
//! mistake at once, each with its key. [`keys`] defines the settings, [`routes`] the keys of a route, and
//! [`meaning`] the resulting types.

mod address;
mod certificates;
mod describe;
mod difference;
mod file;
mod file_value;
mod flags;
mod issuers;
pub mod key;
pub mod keys;
mod keys_url;
mod layers;
mod lower;
pub mod meaning;
pub mod members_file;
mod mend;
mod mistake;
mod near;
mod origins;
mod regular_file;
pub mod routes;
mod secret;
mod stray;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod upstream_text;
pub mod value;
mod written;
mod written_condition;
mod written_edits;
mod written_url;
mod wrong;

pub use describe::{
    describe, describe_judged, show_conditions, show_destination, show_hosts, show_networks, show_oddities,
    show_required, show_spellings, show_timeouts,
};
pub use difference::{Change, difference, settle};
pub use file_value::Texts;
pub use keys_url::named_by;
pub use lower::{Judged, Lowered, judge, load, load_over, lower};
pub use meaning::origins as listed_origins;
pub use meaning::{
    Access, AccessLog, Algorithm, AlgorithmSet, BalancePolicy, Balancing, Certificate, Choice, ClaimField,
    ClaimPath, ClientAuth, ClientHeaders, ClientNetworks, Config, CoreChoice, Cors, EmptySegments,
    EventStream, FieldCondition, FieldEdits, FixedField, HalfClose, HashOn, Health, HostPattern, HostSent,
    Http2, Https, HttpsRedirect, IoDriver, Issuer, IssuerSet, Jwt, KeySetSource, KeysUrl, LimitHeaders,
    LimitStore, Listen, LogFormat, Members, Oddities, OnRedisFailure, Online, Origins, OverMax,
    OwnCertificate, PathCase, PemFile, Per, Piece, Prefixes, ProxyProtocol, Rate, RateLimit, ReadyRequires,
    Redirect, Redis, RedisAddress, RedisHost, RedisTls, Reply, RequiredClaim, Respond, Route, RouteKind,
    RouteLimit, RouteTimeouts, Secret, Share, Sizes, Timeouts, Tls, TlsVersion, TokenEncoding, TokenExpiry,
    TokenPrefix, TokenSources, TraceSample, Traces, TrailingSlash, UnknownName, Upstream, UpstreamAddress,
    UpstreamBounds, UpstreamTls, Via, WantedClaims, WebSocket, WeightedAddress,
};
pub use meaning::{BackChannelLogout, Control, OnStreamFailure, Renewal};
pub use mistake::Mistakes;
pub use regular_file::{read_file, read_secret_file};
pub(crate) use routes::method;
pub use written::{
    Written, WrittenCertificate, WrittenHealth, WrittenIssuer, WrittenLimit, WrittenRoute, WrittenShare,
    WrittenUpstream, WrittenUpstreamTls,
};
pub use written_condition::WrittenCondition;
pub use written_edits::WrittenEdits;
pub use written_url::WrittenUrl;
pub use wrong::Wrong;
