//! `tokens_from` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{Access, RouteKind, TokenSources};
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;

/// Where a handshake may carry its token.
pub(super) const TOKENS_FROM: RouteKey = RouteKey {
    name: "tokens_from",
    default: "all of them",
    help: "Of a protected WebSocket route: where a handshake may carry its token, a list of `header`, `subprotocol` \
           and `query`.",
};

pub(super) fn token_sources(
    route: &WrittenRoute,
    (access, kind): (Access, RouteKind),
    report: &mut Report<'_>,
) -> TokenSources {
    let Some(names) = &route.tokens_from else { return TokenSources::ALL };
    match sources(names) {
        Ok(_) if kind != RouteKind::WebSocket || access == Access::Public => {
            report.add("tokens_from is for protected websocket routes");
            TokenSources::ALL
        }
        Ok(sources) => sources,
        Err(why) => {
            report.add(&format!("tokens_from {why}"));
            TokenSources::ALL
        }
    }
}

/// Reads the names of sources.
fn sources(names: &[String]) -> Parsed<TokenSources> {
    let mut sources = TokenSources::NONE;
    for name in names {
        match name.as_str() {
            "header" => sources.header = true,
            "subprotocol" => sources.subprotocol = true,
            "query" => sources.query = true,
            other => return Err(format!("{} is not header, subprotocol or query", quoted(other))),
        }
    }
    if sources == TokenSources::NONE {
        return Err("is empty (leave it out for every source)".to_owned());
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names() {
        let of = |names: &[&str]| sources(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["header", "subprotocol", "query"]), Ok(TokenSources::ALL));
        assert_eq!(of(&["query"]).map(|sources| sources.to_string()), Ok("query".to_owned()));
        assert!(of(&[]).is_err() && of(&["cookie"]).is_err());
    }
}
