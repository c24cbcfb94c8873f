//! `url`, `urls`, `srv`, `members_file` and `host` of an upstream: its members, and the name by which they are asked.

use std::path::PathBuf;

use super::forwarding;
use super::report::Report;
use crate::config::address::{self, UpstreamUrl};
use crate::config::meaning::{HostSent, Members, Upstream, UpstreamAddress, UpstreamTls, WeightedAddress};
use crate::config::value::{Parsed, count, host_and_port, quoted};
use crate::config::written::WrittenUpstream;
use crate::config::written_url::WrittenUrl;
use crate::limits::{MEMBERS_MAX, WEIGHT_MAX};

/// The upstream at its written members. `None`: they are wrong, or there are none.
pub(super) fn upstream(name: &str, written: &WrittenUpstream, report: &mut Report<'_>) -> Option<Upstream> {
    let source = source(written, report)?;
    let mut upstream = match source {
        Source::Url(url) => {
            let url = address::upstream(url).map_err(|why| report.add(&format!("url {why}"))).ok()?;
            url.named(name)
        }
        Source::Urls(urls) => {
            let listed = listed(urls).map_err(|why| report.add(&format!("urls {why}"))).ok()?;
            let first = address::upstream(&urls[0].url).ok()?;
            Upstream { members: Members::Listed(listed), ..first.named(name) }
        }
        Source::Srv(service) => {
            let domain = srv_domain(service).map_err(|why| report.add(&format!("srv {why}"))).ok()?;
            unlisted(name, written, Members::Srv(service.to_ascii_lowercase()), domain)
        }
        Source::File("") => {
            report.add("members_file is empty");
            return None;
        }
        Source::File(path) => unlisted(name, written, Members::File(PathBuf::from(path)), name.to_owned()),
    };
    name_it(&mut upstream, written, report);
    Some(upstream)
}

/// Takes over `host`. A name is named by requests, and a certificate has to be for it; `client` changes nothing about
/// certificates.
pub(super) fn name_it(upstream: &mut Upstream, written: &WrittenUpstream, report: &mut Report<'_>) {
    let Some(host) = &written.host else { return };
    match forwarding::host_sent(host) {
        Ok(HostSent::Name(authority)) => {
            if let (Some(tls), Some((name, _))) = (&mut upstream.tls, host_and_port(&authority)) {
                tls.server_name = name;
            }
            upstream.authority = authority;
        }
        Ok(host_sent) => upstream.host_sent = host_sent,
        Err(why) => report.add(&format!("host {why}")),
    }
}

/// The one source that is written.
enum Source<'w> {
    Url(&'w str),
    Urls(&'w [WrittenUrl]),
    Srv(&'w str),
    File(&'w str),
}

fn source<'w>(written: &'w WrittenUpstream, report: &mut Report<'_>) -> Option<Source<'w>> {
    let sources = [
        written.url.as_deref().map(|url| ("url", Source::Url(url))),
        written.urls.as_deref().map(|urls| ("urls", Source::Urls(urls))),
        written.srv.as_deref().map(|name| ("srv", Source::Srv(name))),
        written.members_file.as_deref().map(|path| ("members_file", Source::File(path))),
    ];
    let mut found: Vec<(&str, Source<'w>)> = sources.into_iter().flatten().collect();
    match found.len() {
        0 => report.add("has none of the keys url, urls, srv and members_file"),
        1 => return found.pop().map(|(_, source)| source),
        _ => {
            let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
            report.add(&format!("has {}, of which there can be one", keys.join(" and ")));
        }
    }
    None
}

/// An upstream whose members no URL names: `tls` says whether they speak TLS.
fn unlisted(name: &str, written: &WrittenUpstream, members: Members, host: String) -> Upstream {
    let server_name = host.clone();
    let tls = written.tls.as_ref().map(|_| UpstreamTls { server_name, ca: None, certificate: None });
    Upstream { members, tls, ..UpstreamUrl::nowhere(host).named(name) }
}

fn listed(urls: &[WrittenUrl]) -> Parsed<Vec<WeightedAddress>> {
    if urls.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut listed = Vec::new();
    let mut scheme = None;
    for written in urls {
        let (found, of) = weighted(written)?;
        if *scheme.get_or_insert(of) != of {
            return Err(format!("has {} and {of}: an upstream has one scheme", scheme.unwrap_or_default()));
        }
        add(&mut listed, found, &written.url)?;
    }
    Ok(listed)
}

/// The members that a file lists, each as in `urls`, and whether they have to speak TLS.
///
/// # Errors
/// The index of the wrong one, and what is wrong with it.
pub(crate) fn of_file(urls: &[WrittenUrl], is_tls: bool) -> Result<Vec<WeightedAddress>, (usize, String)> {
    let mut listed = Vec::new();
    for (nth, written) in urls.iter().enumerate() {
        let judged = weighted(written).and_then(|(found, scheme)| {
            match (is_tls, scheme) {
                (false, "https://") => return Err("is https, and its upstream has no `tls`".to_owned()),
                (true, "http://" | "http+unix://") => {
                    return Err(format!("is {scheme}, and its upstream has `tls`"));
                }
                _ => {}
            }
            add(&mut listed, found, &written.url)
        });
        judged.map_err(|why| (nth, why))?;
    }
    Ok(listed)
}

fn weighted(written: &WrittenUrl) -> Parsed<(WeightedAddress, &'static str)> {
    let UpstreamUrl { address, tls, .. } = address::upstream(&written.url)?;
    let weight = written.weight.as_deref().map_or(Ok(1), |weight| count(weight, 1, WEIGHT_MAX));
    let weight = weight.map_err(|why| format!("{}: weight {why}", quoted(&written.url)))?;
    let scheme = match (&address, tls) {
        (UpstreamAddress::Unix(_), _) => "http+unix://",
        (_, Some(_)) => "https://",
        (_, None) => "http://",
    };
    Ok((WeightedAddress { address, weight }, scheme))
}

fn add(listed: &mut Vec<WeightedAddress>, found: WeightedAddress, url: &str) -> Parsed<()> {
    if listed.iter().any(|known| known.address == found.address) {
        return Err(format!("names {} twice", quoted(url)));
    }
    if listed.len() >= MEMBERS_MAX {
        return Err(format!("has more than {MEMBERS_MAX} of them"));
    }
    listed.push(found);
    Ok(())
}

/// The domain of `_service._protocol.domain` (RFC 2782).
fn srv_domain(name: &str) -> Parsed<String> {
    let mut labels = name.splitn(3, '.');
    let is_marked =
        |label: Option<&str>| label.is_some_and(|label| label.len() > 1 && label.starts_with('_'));
    let domain = (is_marked(labels.next()) && is_marked(labels.next())).then(|| labels.next()).flatten();
    match domain.and_then(host_and_port) {
        Some((domain, None)) if host_and_port(name).is_some() => Ok(domain),
        _ => Err(format!("{} is not _service._protocol.domain", quoted(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::describe;
    use crate::config::testing::lowered_toml;

    fn file(upstream: &str) -> String {
        format!("[upstreams.chat]\n{upstream}\n[[route]]\nname = 'r'\npaths = ['/']\nupstream = 'chat'\n")
    }

    fn upstream(text: &str) -> Upstream {
        lowered_toml(&file(text)).unwrap_or_else(|told| panic!("{told}")).config.upstreams[0].clone()
    }

    fn shown(text: &str) -> String {
        let text = describe(&lowered_toml(&file(text)).expect("valid").config);
        let row = text.lines().skip_while(|line| *line != "Upstreams").nth(1).expect("a row");
        row.trim_start().trim_start_matches("chat").trim_start().to_owned()
    }

    #[test]
    fn several_urls_are_members_with_weights() {
        let urls = "urls = ['http://A:1', { url = 'http://b', weight = 3 }, 'http://[::1]:2']";
        let upstream = upstream(urls);
        let Members::Listed(listed) = &upstream.members else { panic!("listed") };
        assert_eq!(listed.iter().map(|one| one.weight).collect::<Vec<_>>(), [1, 3, 1]);
        assert_eq!((upstream.authority.as_str(), upstream.tls), ("a:1", None));
        assert_eq!(shown(urls), "http://a:1, http://b:80 weight 3, http://[::1]:2");
    }

    #[test]
    fn the_first_url_names_the_service_unless_host_does() {
        let of = |text: &str| {
            let upstream = upstream(text);
            (upstream.authority, upstream.tls.map(|tls| tls.server_name).unwrap_or_default())
        };
        let names = |authority: &str, server: &str| (authority.to_owned(), server.to_owned());
        assert_eq!(of("urls = ['https://a:1', 'https://b:1']"), names("a:1", "a"));
        assert_eq!(of("urls = ['https://10.0.0.1', 'https://10.0.0.2']\nhost = 'Chat.Example:8443'"), {
            names("chat.example:8443", "chat.example")
        });
        let written = "url = 'https://a'\nhost = 'b'\ntls.server_name = 'c'";
        assert_eq!(of(written), names("b", "c"));
        assert_eq!(shown(written), "https://a:443, host = b, server_name = c");
        assert_eq!(of("srv = '_chat._tcp.Example.org'"), names("example.org", ""));
        assert_eq!(of("srv = '_chat._tcp.example'\ntls = {}"), names("example", "example"));
        assert_eq!(of("members_file = '/run/members.toml'"), names("chat", ""));
        assert_eq!(of("members_file = '/m'\ntls = {}\nhost = 'a:1'"), names("a:1", "a"));
    }

    #[test]
    fn the_client_s_host_is_no_name_of_the_service() {
        let upstream = upstream("url = 'https://a:1'\nhost = 'client'");
        assert_eq!((upstream.authority.as_str(), &upstream.host_sent), ("a:1", &HostSent::Client));
        assert_eq!(upstream.tls.map(|tls| tls.server_name).as_deref(), Some("a"));
        assert_eq!(shown("url = 'https://a:1'\nhost = 'client'"), "https://a:1, host = client");
        assert_eq!(shown("url = 'http://a'\nhost = 'upstream'\nrewrite_location = true"), "http://a:80");
        assert_eq!(
            shown("url = 'http://a'\nrewrite_location = false"),
            "http://a:80, rewrite_location = false"
        );
    }

    #[test]
    fn check_shows_where_members_come_from() {
        assert_eq!(shown("srv = '_chat._tcp.example'"), "srv _chat._tcp.example");
        assert_eq!(shown("srv = '_chat._tcp.example'\ntls = {}"), "srv _chat._tcp.example over TLS");
        assert_eq!(shown("members_file = '/run/m.toml'\nhost = 'a'"), "members_file /run/m.toml, host = a");
        assert_eq!(shown("url = 'http://a'\nhost = 'a'"), "http://a:80");
    }

    #[test]
    fn refuses_what_is_no_list_of_members() {
        for (text, why) in [
            ("connection_reuse = true", "has none of the keys url, urls, srv and members_file"),
            ("url = 'http://a'\nsrv = '_a._tcp.b'", "has url and srv, of which there can be one"),
            ("urls = []", "urls is empty"),
            ("urls = ['http://a', 'https://b']", "urls has http:// and https://: an upstream has one scheme"),
            ("urls = ['http://a', 'http+unix://%2Fa']", "urls has http:// and http+unix://: an upstream"),
            ("urls = ['http://a', 'http://A:80']", "urls names \"http://A:80\" twice"),
            ("urls = ['a']", "urls \"a\" is not a URL"),
            (
                "urls = [{ url = 'http://a', weight = 0 }]",
                "urls \"http://a\": weight \"0\" is not a whole number from 1",
            ),
            ("urls = [{ url = 'http://a', weight = 1001 }]", "urls \"http://a\": weight \"1001\" is not"),
            ("srv = 'chat.example'", "srv \"chat.example\" is not _service._protocol.domain"),
            ("srv = '_chat._tcp'", "srv \"_chat._tcp\" is not"),
            ("srv = '_chat._tcp.a b'", "srv \"_chat._tcp.a b\" is not"),
            ("srv = '_chat._tcp.a:1'", "srv \"_chat._tcp.a:1\" is not"),
            ("members_file = ''", "members_file is empty"),
            (
                "url = 'http://a'\nhost = 'a/b'",
                "host \"a/b\" is neither client, upstream, a host nor a host and a port",
            ),
        ] {
            let told = lowered_toml(&file(text)).map(|_| ()).unwrap_err().to_string();
            assert!(told.starts_with(&format!("upstream \"chat\" (gateway.toml:1): {why}")), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        let told = lowered_toml(&file("urls = [1]")).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("expected a URL, or a table with url and weight"), "{told}");
    }

    #[test]
    fn there_may_be_so_many_and_no_more() {
        let urls = |count: usize| {
            let urls: Vec<String> = (0..count).map(|nth| format!("'http://a{nth}'")).collect();
            lowered_toml(&file(&format!("urls = [{}]", urls.join(", "))))
        };
        assert!(urls(MEMBERS_MAX).is_ok());
        let told = urls(MEMBERS_MAX + 1).map(|_| ()).unwrap_err().to_string();
        assert!(told.ends_with(&format!("urls has more than {MEMBERS_MAX} of them")), "{told}");
    }
}
