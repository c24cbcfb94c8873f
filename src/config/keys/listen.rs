//! The settings under "Listening", and what they mean together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Choice, Cors, Http2, Listen, ProxyProtocol, Secret};
use crate::config::origins;
use crate::config::secret::{FoundSecret, SecretKeys};
use crate::config::value::{Parsed, choice, count, host_and_port, items, quoted, show_list};

/// The settings under "Listening".
pub const SECTION: Section = Section {
    heading: "Listening",
    heading_in_check: "Listening",
    keys: &[
        &PORT,
        &BIND,
        &ADMIN_ADDR,
        &ADMIN_HOSTS,
        &ADMIN_TOKEN,
        &ADMIN_TOKEN_FILE,
        &TRUSTED_PROXIES,
        &PROXY_PROTOCOL,
        &H2C,
        &CORS_ALLOWED_ORIGINS,
    ],
};

pub const PORT: Key<u16> = Key {
    env: "PORT",
    flag: "port",
    value_name: "PORT",
    in_file: InFile::Scalar,
    default: "8080",
    bounds: "0 to 65535",
    help: "Port of the public listener; 0: the kernel chooses one",
    more: "",
    parse: |text| count(text, 0, u16::MAX),
    shown: Shown::Value(|config| config.listen.port.to_string()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.listen.port = running.listen.port),
};

pub const BIND: Key<IpAddr, NoDefault> = Key {
    env: "BIND",
    flag: "bind",
    value_name: "ADDRESS",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "an IP address",
    help: "Address of the public listener; unset: every address, IPv6 too where the host has it",
    more: "",
    parse: ip,
    shown: Shown::Value(|config| {
        config.listen.bind.map_or_else(|| "every address".to_owned(), |bind| bind.to_string())
    }),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.listen.bind = running.listen.bind),
};

pub const ADMIN_ADDR: Key<Option<SocketAddr>> = Key {
    env: "ADMIN_ADDR",
    flag: "admin-addr",
    value_name: "ADDRESS:PORT",
    in_file: InFile::Scalar,
    default: "127.0.0.1:9901",
    bounds: "address and port, or `off`",
    help: "Address of the listener for health and metrics, or `off`",
    more: "It cannot be the address of the public listener.",
    parse: socket_or_off,
    shown: Shown::Value(|config| config.admin_addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string())),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.admin_addr = running.admin_addr),
};

pub const ADMIN_HOSTS: Key<Vec<String>> = Key {
    env: "ADMIN_HOSTS",
    flag: "admin-hosts",
    value_name: "NAME,…",
    in_file: InFile::List,
    default: "none",
    bounds: "list of host names without a port, up to 1024",
    help: "Names by which the admin listener may be asked, besides `localhost` and IP addresses, comma-separated",
    more: "A request with another name in its `Host` gets 421.",
    parse: host_names,
    shown: Shown::Value(|config| show_list(&config.admin_hosts)),
    on_reload: OnReload::Takes,
};

pub const ADMIN_TOKEN: Key<Secret, NoDefault> = Key {
    env: "ADMIN_TOKEN",
    flag: "admin-token",
    value_name: "SECRET",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "visible ASCII",
    help: "Bearer token without which the admin listener tells only health (a flag is visible to every user)",
    more: "Without it whoever reaches the listener may read it. `/healthz` and `/readyz` never ask for it.",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Secret {
        summary: |config| if config.admin_token.is_some() { "set" } else { "none" }.to_owned(),
        differs: |one, other| one.admin_token != other.admin_token,
    },
    on_reload: OnReload::Takes,
};

pub const ADMIN_TOKEN_FILE: Key<PathBuf, NoDefault> = Key {
    env: "ADMIN_TOKEN_FILE",
    flag: "admin-token-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File that holds the token, in place of `ADMIN_TOKEN`",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

/// The token of the admin listener.
pub(crate) fn admin_token(layers: &mut Layers) -> Option<Secret> {
    let FoundSecret { secret, subject } =
        SecretKeys { value: &ADMIN_TOKEN, file: &ADMIN_TOKEN_FILE }.find(layers)?;
    if !secret.0.iter().all(u8::is_ascii_graphic) {
        layers.mistakes.add(&subject, "has something other than visible ASCII in it");
        return None;
    }
    Some(secret)
}

pub const TRUSTED_PROXIES: Key<Networks> = Key {
    env: "TRUSTED_PROXIES",
    flag: "trusted-proxies",
    value_name: "CIDR,…",
    in_file: InFile::List,
    default: "none",
    bounds: "list of networks or addresses, up to 1024",
    help: "Peers whose `X-Forwarded-For` and `X-Request-Id` are trusted: networks or addresses, \
           comma-separated",
    more: "",
    parse: networks,
    shown: Shown::Value(|config| show_list(&config.trusted_proxies)),
    on_reload: OnReload::Takes,
};

pub const PROXY_PROTOCOL: Key<ProxyProtocol> = Key {
    env: "PROXY_PROTOCOL",
    flag: "proxy-protocol",
    value_name: "off|on|trusted",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off`, `on` or `trusted`",
    help: "Which connections of the public listener begin with a header of the PROXY protocol: none (`off`), those of \
           `TRUSTED_PROXIES` while others are closed (`on`), or those of `TRUSTED_PROXIES` beside others (`trusted`)",
    more: "Version 1 or 2. The address in it is the client's.",
    parse: choice,
    shown: Shown::Value(|config| config.proxy_protocol.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const H2C: Key<Http2> = Key {
    env: "H2C",
    flag: "h2c",
    value_name: "off|on",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off` or `on`",
    help: "Whether clients of the public listener may speak HTTP/2 without TLS, from their first byte on (prior \
           knowledge), beside HTTP/1.1",
    more: "For load balancers; browsers speak it over TLS alone.",
    parse: choice,
    shown: Shown::Value(|config| config.h2c.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const CORS_ALLOWED_ORIGINS: Key<Cors> = Key {
    env: "CORS_ALLOWED_ORIGINS",
    flag: "cors-allowed-origins",
    value_name: "ORIGIN,…",
    in_file: InFile::List,
    default: "none",
    bounds: "list of origins, up to 1024, or `*`",
    help: "Browser origins that may call, comma-separated; `*`: any, without credentials",
    more: "`*` stands alone. An origin is `scheme://host` or `scheme://host:port`, with nothing behind; \
           case and the default port of the scheme do not matter. `https://*.chat.example` is every name below \
           `chat.example`, at any depth, and not that name itself; scheme and port are exact.",
    parse: origins::cors,
    shown: Shown::Value(|config| show_cors(&config.cors)),
    on_reload: OnReload::Takes,
};

/// Networks, and a note for each network that was written with host bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// The networks, sorted, without repeats.
    pub networks: Vec<IpNet>,
    /// The second half of a sentence each.
    pub notes: Vec<String>,
}

/// The public listener and the admin listener. Both on one address would give requests of clients to the admin
/// listener, or fail at the start.
pub(crate) fn listeners(layers: &mut Layers) -> (Listen, Option<SocketAddr>) {
    let listen = Listen { port: layers.value(&PORT), bind: layers.option(&BIND) };
    let admin = layers.value(&ADMIN_ADDR);
    if let Some(admin) = admin.filter(|admin| is_shared(&listen, *admin))
        && !layers.any_is_wrong(&[&PORT, &ADMIN_ADDR])
    {
        layers.refuse(&ADMIN_ADDR, &format!("{admin} is the public listener's address too"));
    }
    (listen, admin)
}

/// Whether a connection to the admin listener could reach the public one.
pub(crate) fn is_shared(listen: &Listen, admin: SocketAddr) -> bool {
    let overlaps = |bind: IpAddr| bind.is_unspecified() || admin.ip().is_unspecified() || bind == admin.ip();
    listen.port != 0 && listen.port == admin.port() && listen.bind.is_none_or(overlaps)
}

/// The trusted networks, with a warning for each that was written with host bits.
pub(crate) fn trusted_proxies(layers: &mut Layers) -> Vec<IpNet> {
    let Networks { networks, notes } = layers.value(&TRUSTED_PROXIES);
    let notes = notes.into_iter().map(|note| format!("{}: {note}", TRUSTED_PROXIES.env));
    layers.warnings.extend(notes);
    networks
}

/// Reads an IP address. An IPv6 address may have brackets.
fn ip(value: &str) -> Parsed<IpAddr> {
    let bare = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).filter(|v| v.contains(':'));
    let address = bare.unwrap_or(value).parse();
    address.map_err(|_| format!("{} is not an IP address (use 0.0.0.0, 127.0.0.1, ::1)", quoted(value)))
}

/// Reads an address with a port, or `off`.
fn socket_or_off(value: &str) -> Parsed<Option<SocketAddr>> {
    if value == "off" {
        return Ok(None);
    }
    let address = value.parse().map(Some);
    address.map_err(|_| {
        format!("{} is not an address with a port (use 127.0.0.1:9901, [::1]:9901 or off)", quoted(value))
    })
}

/// Reads host names, in lower case; `none` for none.
fn host_names(value: &str) -> Parsed<Vec<String>> {
    let name = |item: &str| match host_and_port(item) {
        Some((name, None)) if !name.contains(':') => Ok(name),
        _ => {
            Err(format!("{} is not a host name without a port (use gateway, metrics.example)", quoted(item)))
        }
    };
    let mut names = items(value)?.into_iter().map(name).collect::<Parsed<Vec<String>>>()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Reads networks and single addresses; `none` for none. A network with host bits is read as the network around
/// them, with a note.
pub(crate) fn networks(value: &str) -> Parsed<Networks> {
    let (mut networks, mut notes) = (Vec::new(), Vec::new());
    for item in items(value)? {
        let parsed = item.parse::<IpNet>().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(network) = parsed else {
            return Err(format!(
                "{} is not a network or an address (use 10.0.0.0/8, fd00::/8, 192.0.2.7)",
                quoted(item)
            ));
        };
        if network != network.trunc() {
            notes.push(format!("{item} has bits set behind its prefix and is taken as {}", network.trunc()));
        }
        networks.push(network.trunc());
    }
    networks.sort_unstable();
    networks.dedup();
    Ok(Networks { networks, notes })
}

fn show_cors(cors: &Cors) -> String {
    match cors {
        Cors::Off => "none".to_owned(),
        Cors::Any => "*".to_owned(),
        Cors::Origins(origins) => show_list(origins),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{lowered, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&PORT, "0", "PORT 0"),
                (&BIND, "::1", "BIND ::1"),
                (&ADMIN_ADDR, "off", "ADMIN_ADDR off"),
                (&ADMIN_HOSTS, "Gateway,a.b", "ADMIN_HOSTS a.b, gateway"),
                (&ADMIN_TOKEN, "hunter2", "ADMIN_TOKEN set"),
                (&TRUSTED_PROXIES, "10.0.0.0/8,::1", "TRUSTED_PROXIES 10.0.0.0/8, ::1/128"),
                (&H2C, "on", "H2C on"),
                (&CORS_ALLOWED_ORIGINS, "https://A.b", "CORS_ALLOWED_ORIGINS https://a.b"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&PORT, "65536"),
            (&BIND, "localhost"),
            (&ADMIN_TOKEN, "two words"),
            (&ADMIN_ADDR, "localhost:1"),
            (&ADMIN_ADDR, "127.0.0.1:8080"),
            (&ADMIN_HOSTS, "gateway:9901"),
            (&ADMIN_HOSTS, "http://gateway"),
            (&TRUSTED_PROXIES, "10.0.0.0/33"),
            (&CORS_ALLOWED_ORIGINS, "https://a/"),
        ]);
    }

    #[test]
    fn listeners_may_share_a_port_only_on_different_addresses() {
        for (bind, admin, is_right) in [
            ("127.0.0.1", "127.0.0.2:8080", true),
            ("127.0.0.1", "127.0.0.1:8080", false),
            ("0.0.0.0", "127.0.0.1:8080", false),
            ("127.0.0.1", "0.0.0.0:8080", false),
            ("127.0.0.1", "127.0.0.1:8081", true),
        ] {
            assert_eq!(lowered(&[(&BIND, bind), (&ADMIN_ADDR, admin)]).is_ok(), is_right, "{bind} {admin}");
        }
        assert!(lowered(&[(&PORT, "0"), (&ADMIN_ADDR, "127.0.0.1:0")]).is_ok());
        let wrong = lowered(&[(&PORT, "x"), (&ADMIN_ADDR, "127.0.0.1:8080")]).unwrap_err();
        assert_eq!(wrong.count(), 1, "the default port is not judged: {wrong}");
    }

    #[test]
    fn networks_with_host_bits_are_cut_with_a_warning() {
        let warnings = lowered(&[(&TRUSTED_PROXIES, "10.1.2.3/8")]).expect("networks").warnings;
        assert_eq!(
            warnings,
            ["TRUSTED_PROXIES: 10.1.2.3/8 has bits set behind its prefix and is taken as 10.0.0.0/8"]
        );
    }

    #[test]
    fn reads_addresses() {
        assert_eq!(ip("::1"), ip("[::1]"));
        assert!(ip("127.0.0.1").is_ok());
        for value in ["localhost", "[127.0.0.1]", "1.2.3", "127.0.0.1:80", "*"] {
            assert!(ip(value).is_err(), "{value}");
        }
        assert_eq!(socket_or_off("off"), Ok(None));
        assert!(socket_or_off("127.0.0.1:9901").is_ok() && socket_or_off("[::1]:0").is_ok());
        for value in ["localhost:9901", "9901", ":9901", "127.0.0.1", "Off"] {
            assert!(socket_or_off(value).is_err(), "{value}");
        }
    }

    #[test]
    fn reads_networks_and_single_addresses() {
        let read = |value| {
            networks(value).map(|Networks { networks, notes }| {
                (networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), notes.len())
            })
        };
        assert_eq!(read("none"), Ok((String::new(), 0)));
        assert_eq!(
            read("10.0.0.0/8, 192.0.2.7 fd00::/8"),
            Ok(("10.0.0.0/8 192.0.2.7/32 fd00::/8".into(), 0))
        );
        assert_eq!(
            read("10.1.2.3/8,10.0.0.0/8"),
            Ok(("10.0.0.0/8".into(), 1)),
            "host bits are cut, and said"
        );
        for value in ["10.0.0.0/33", "localhost", "10.0.0", ",", "none,10.0.0.0/8", "*"] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
