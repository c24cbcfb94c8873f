//! The types of a valid configuration, one file per section of settings.

pub mod algorithms;
pub mod balancing;
pub mod bounds;
pub mod choice;
pub mod claims;
pub mod config;
pub mod health;
pub mod https;
pub mod limits;
pub mod listen;
pub mod members;
pub mod process;
pub mod routes;
pub mod tls;
pub mod token_sources;
pub mod tokens;
pub mod upstreams;
pub mod websockets;

pub use algorithms::{Algorithm, AlgorithmSet};
pub use balancing::{BalancePolicy, Balancing, HashOn, UpstreamBounds};
pub use bounds::{Sizes, Timeouts};
pub use choice::Choice;
pub use claims::{ClaimField, ClaimPath, RequiredClaim, WantedClaims};
pub use config::Config;
pub use health::Health;
pub use https::{Https, HttpsRedirect};
pub use limits::{LimitHeaders, LimitStore, OnRedisFailure, Rate, RateLimit, Redis, RedisAddress};
pub use listen::{Cors, Listen, ProxyProtocol};
pub use members::{Members, ReadyRequires, UpstreamAddress, WeightedAddress};
pub use process::{AccessLog, CoreChoice, IoDriver};
pub use routes::{Access, PathCase, Per, Route, RouteKind, RouteLimit, Share, TrailingSlash};
pub use tls::{Certificate, ClientAuth, ClientHeaders, Tls, TlsVersion, UnknownName};
pub use token_sources::{TokenEncoding, TokenPrefix, TokenSources};
pub use tokens::{Issuer, IssuerSet, Jwt, KeySetSource, KeysUrl, PemFile, Secret};
pub use upstreams::{OwnCertificate, Upstream, UpstreamTls};
pub use websockets::{Origins, TokenExpiry, WebSocket};
