//! The demo's configuration: what was written, over a secret of its own and backends of its own.

use std::net::SocketAddr;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::config::{self, Lowered, UpstreamAddress, Written};
use crate::demo::backends::{self, TokenMint};
use crate::launch;

/// Lowers the configuration and starts the backends for it. What was written still wins; an upstream whose
/// address was written stays where it was written.
///
/// # Errors
/// Everything that is wrong with the configuration, or that there is no loopback; in words.
pub fn prepare(written: Written) -> Result<Lowered, String> {
    let moved = written.clone();
    let mut lowered =
        config::load_over(written, defaults, launch::check).map_err(|mistakes| mistakes.to_string())?;
    let jwt = &lowered.config.jwt;
    let mint = TokenMint {
        secret: jwt.secrets[0].0.clone(),
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        user_claim: jwt.user_claim.clone(),
        ttl: TOKEN_TTL,
    };
    let backends =
        backends::start(mint).map_err(|error| format!("the demo's backends cannot start: {error}"))?;
    let own = [
        ("auth", backends.auth, moved.upstream_auth_url),
        ("message", backends.message, moved.upstream_message_url),
        ("delivery", backends.delivery, moved.upstream_delivery_url),
        ("profile", backends.profile, moved.upstream_profile_url),
        ("conversation", backends.conversation, moved.upstream_conversation_url),
    ];
    for (name, address, _) in own.iter().filter(|(_, _, written)| written.is_none()) {
        lead(&mut lowered, name, *address);
    }
    Ok(lowered)
}

fn defaults(written: &Written) -> Written {
    let has_secret = written.jwt_secret.is_some() || written.jwt_secret_file.is_some();
    Written {
        jwt_secret: (!has_secret).then(random_secret),
        rate_limit_store: written.redis_addr.is_none().then(|| "memory".to_owned()),
        access_log: Some("off".to_owned()),
        ..Written::default()
    }
}

fn lead(lowered: &mut Lowered, name: &str, to: SocketAddr) {
    for upstream in lowered.config.upstreams.iter_mut().filter(|upstream| upstream.name == name) {
        upstream.address = UpstreamAddress::Tcp { host: to.ip().to_string(), port: to.port() };
        upstream.authority = to.to_string();
    }
}

fn random_secret() -> String {
    let mut bytes = [0_u8; 32];
    // 256 bytes or less never come short and never wait after boot (getrandom(2)).
    let _ = getrandom(&mut bytes[..], GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long the demo's tokens are valid.
const TOKEN_TTL: std::time::Duration = std::time::Duration::from_secs(3_600);
