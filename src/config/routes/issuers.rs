//! `issuers` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{Access, Issuer, IssuerSet};
use crate::config::value::quoted;
use crate::config::written::WrittenRoute;

/// Whose tokens a route takes.
pub(super) const ISSUERS: RouteKey = RouteKey {
    name: "issuers",
    default: "all of them",
    help: "Of a protected route: the names of the issuers whose tokens it takes. `default` is the one of `JWT_SECRET` \
           and `JWKS_URL`.",
};

pub(super) fn issuers(
    route: &WrittenRoute,
    access: Access,
    known: &[Issuer],
    report: &mut Report<'_>,
) -> IssuerSet {
    let Some(names) = &route.issuers else { return IssuerSet::ALL };
    if access == Access::Public {
        report.add("issuers is for protected routes");
    }
    let mut set = IssuerSet::NONE;
    for name in names {
        match known.iter().position(|issuer| issuer.name == *name) {
            Some(index) => set = set.with(index),
            None => report.add(&format!("issuers: {} is not defined (add [[issuer]])", quoted(name))),
        }
    }
    if names.is_empty() {
        report.add("issuers is empty (leave it out for all of them)");
    }
    set
}

#[cfg(test)]
mod tests {
    use crate::config::describe;
    use crate::config::testing::lowered_toml;

    fn file(keys: &str) -> String {
        format!(
            "[[issuer]]\nname = 'corp'\nissuer = 'i'\naudiences = ['a']\njwks_file = '/k'\n[upstreams.a]\nurl = \
             'http://a'\n[[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n{keys}\n"
        )
    }

    #[test]
    fn a_route_names_its_issuers_and_check_shows_them() {
        let sets = |keys: &str| {
            let config = lowered_toml(&file(keys)).expect("valid").config;
            let set = config.routes[0].issuers;
            ([set.contains(0), set.contains(1)], describe(&config).contains("tokens of corp"))
        };
        assert_eq!(sets(""), ([true, true], false));
        assert_eq!(sets("issuers = ['corp']"), ([false, true], true));
        assert_eq!(sets("issuers = ['corp', 'default']"), ([true, true], false));
    }

    #[test]
    fn refuses_issuers_that_are_not_there() {
        for (keys, why) in [
            ("issuers = ['core']", "issuers: \"core\" is not defined (add [[issuer]])"),
            ("issuers = []", "issuers is empty (leave it out for all of them)"),
            ("issuers = ['corp']\naccess = 'public'", "issuers is for protected routes"),
        ] {
            let told = lowered_toml(&file(keys)).map(|_| ()).unwrap_err().to_string();
            assert_eq!(told, format!("route \"r\" (gateway.toml:8): {why}"));
        }
    }
}
