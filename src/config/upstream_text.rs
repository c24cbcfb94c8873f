//! An upstream as text, for `check` and the log of a reload.

use super::address::show_url;
use super::meaning::{HostSent, Members, Upstream, UpstreamAddress, WeightedAddress};
use super::routes::show_health;
use super::value::host_and_port;

/// An upstream as an operator writes it: where its members come from, then what is not the default.
pub(super) fn show(upstream: &Upstream) -> String {
    let Upstream { members, authority, tls, connection_reuse, .. } = upstream;
    let mut shown = show_members(members, tls.is_some());
    if !is_default_name(upstream) {
        shown.push_str(&format!(", host = {authority}"));
    }
    if upstream.host_sent != HostSent::Upstream {
        shown.push_str(&format!(", host = {}", upstream.host_sent.text()));
    }
    if let Some(tls) = tls {
        let host = host_and_port(authority).map(|(host, _)| host);
        shown.push_str(&tls.show(&host.unwrap_or_default()));
    }
    if !connection_reuse {
        shown.push_str(", connection_reuse = false");
    }
    if !upstream.rewrite_location {
        shown.push_str(", rewrite_location = false");
    }
    shown.push_str(&upstream.balancing.show());
    shown.push_str(&upstream.bounds.show());
    shown.push_str(&show_health(upstream));
    shown
}

fn show_members(members: &Members, is_tls: bool) -> String {
    let over_tls = if is_tls { " over TLS" } else { "" };
    match members {
        Members::Listed(listed) => {
            let weighted = |one: &WeightedAddress| match one.weight {
                1 => show_url(&one.address, is_tls),
                weight => format!("{} weight {weight}", show_url(&one.address, is_tls)),
            };
            listed.iter().map(weighted).collect::<Vec<_>>().join(", ")
        }
        Members::Srv(name) => format!("srv {name}{over_tls}"),
        Members::File(path) => format!("members_file {}{over_tls}", path.display()),
    }
}

/// Whether the upstream has the name that it has without `host`.
fn is_default_name(upstream: &Upstream) -> bool {
    let Upstream { name, members, authority, .. } = upstream;
    match members {
        Members::Listed(listed) => match listed.first().map(|first| &first.address) {
            Some(UpstreamAddress::Tcp { host, .. }) => {
                host_and_port(authority).is_some_and(|(named, _)| named == *host)
            }
            _ => authority == "localhost",
        },
        Members::Srv(service) => service.ends_with(&format!(".{authority}")),
        Members::File(_) => authority == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address;

    #[test]
    fn shows_upstreams_as_they_would_be_written() {
        for url in [
            "http://auth:5001",
            "http://[::1]:80",
            "https://auth:443",
            "https://[::1]:5001",
            "http+unix://%2Frun%2Fa.sock",
            "http+unix://%2Fa%25b%0A",
        ] {
            assert_eq!(show(&address::upstream(url).unwrap().named("a")), url);
        }
    }
}
