//! The settings for the sentinels of Redis.

use std::path::PathBuf;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{RedisAddress, Secret};
use crate::config::secret::SecretKeys;
use crate::config::value::text;

pub const REDIS_SENTINEL_USERNAME: Key<String, NoDefault> = Key {
    env: "REDIS_SENTINEL_USERNAME",
    flag: "redis-sentinel-username",
    value_name: "NAME",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 256 bytes, with a password, and with `redis-sentinel`",
    help: "ACL user of the sentinels; unset: their default user",
    more: "",
    parse: text,
    shown: Shown::Value(|config| {
        config.redis.sentinel_username.clone().unwrap_or_else(|| "the default user".to_owned())
    }),
    on_reload: OnReload::Takes,
};

pub const REDIS_SENTINEL_PASSWORD: Key<Secret, NoDefault> = Key {
    env: "REDIS_SENTINEL_PASSWORD",
    flag: "redis-sentinel-password",
    value_name: "SECRET",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "with `redis-sentinel`",
    help: "Password of the sentinels' user (a flag is visible to every user of the host)",
    more: "Use the variable or a file. User and password of the address are those of the master.",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Secret {
        summary: |config| if config.redis.sentinel_password.is_some() { "set" } else { "none" }.to_owned(),
        differs: |one, other| one.redis.sentinel_password != other.redis.sentinel_password,
    },
    on_reload: OnReload::Takes,
};

pub const REDIS_SENTINEL_PASSWORD_FILE: Key<PathBuf, NoDefault> = Key {
    env: "REDIS_SENTINEL_PASSWORD_FILE",
    flag: "redis-sentinel-password-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File that holds the password, in place of `REDIS_SENTINEL_PASSWORD`",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

/// User and password for the sentinels.
pub(super) fn credentials(layers: &mut Layers, address: &RedisAddress) -> (Option<String>, Option<Secret>) {
    let username = layers.option(&REDIS_SENTINEL_USERNAME);
    let keys = SecretKeys { value: &REDIS_SENTINEL_PASSWORD, file: &REDIS_SENTINEL_PASSWORD_FILE };
    let password = keys.find(layers).map(|found| found.secret);
    let first = match (&username, &password) {
        (Some(_), _) => REDIS_SENTINEL_USERNAME.env,
        (None, Some(_)) => REDIS_SENTINEL_PASSWORD.env,
        (None, None) => return (None, None),
    };
    if !matches!(address, RedisAddress::Sentinel { .. }) {
        layers.mistakes.add(first, "is written without a redis-sentinel:// address of Redis");
    } else if username.is_some() && password.is_none() {
        layers
            .mistakes
            .add(first, "is written without REDIS_SENTINEL_PASSWORD (or REDIS_SENTINEL_PASSWORD_FILE)");
    }
    (username, password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::limits::REDIS_ADDR;
    use crate::config::testing::lowered;

    #[test]
    fn sentinels_have_a_user_and_a_password_of_their_own() {
        let read = |address| {
            lowered(&[
                (&REDIS_ADDR, address),
                (&REDIS_SENTINEL_USERNAME, "gw"),
                (&REDIS_SENTINEL_PASSWORD, "hunter2"),
            ])
        };
        let redis = read("redis-sentinel://u:p@a,b/chat").expect("valid").config.redis;
        assert_eq!((redis.username.as_deref(), redis.sentinel_username.as_deref()), (Some("u"), Some("gw")));
        assert_eq!(redis.sentinel_password.map(|secret| secret.0), Some(b"hunter2".to_vec()));
        let told = read("redis://a").expect_err("no sentinels").to_string();
        assert!(
            told.starts_with("REDIS_SENTINEL_USERNAME: is written without a redis-sentinel://"),
            "{told}"
        );
        let told = lowered(&[(&REDIS_ADDR, "redis-sentinel://a/chat"), (&REDIS_SENTINEL_USERNAME, "gw")]);
        assert!(
            told.expect_err("no password").to_string().contains("is written without REDIS_SENTINEL_PASSWORD")
        );
    }
}
