//! `require` and `claims_to_headers` of a route: rules by the claims of a token.

use super::key::RouteKey;
use super::report::Report;
use crate::config::file_value::Texts;
use crate::config::layers::Layers;
use crate::config::meaning::{Access, ClaimField, ClaimPath, RequiredClaim, Route, WantedClaims};
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::{
    CLAIM_FIELDS_MAX, CLAIM_PATH_BYTES_MAX, FORWARDED_CLAIMS_MAX, NAME_BYTES_MAX, REQUIRED_VALUES_MAX,
    REQUIREMENTS_MAX,
};

/// The claims that a token must have.
pub(super) const REQUIRE: RouteKey = RouteKey {
    name: "require",
    default: "none",
    help: "Of a protected route: the claims that a token must have, a table of claim and value, or claim and list of \
           values of which one is enough. Every claim of the table is required. Without one: 403.",
};

/// The fields that are set from claims.
pub(super) const CLAIMS_TO_HEADERS: RouteKey = RouteKey {
    name: "claims_to_headers",
    default: "none",
    help: "The fields that the upstream gets from claims of the token, a table of field and claim. A field is below \
           `X-Internal-`.",
};

pub(super) fn require(route: &WrittenRoute, access: Access, report: &mut Report<'_>) -> Vec<RequiredClaim> {
    let Some(written) = &route.require else { return Vec::new() };
    if access != Access::Protected {
        report.add("require needs a verified user, so the route has to be protected");
    }
    let mut required = Vec::new();
    for (claim, Texts(values)) in written {
        match claim_path(claim).and_then(|path| Ok((path, any_of(values)?))) {
            Ok((path, any_of)) => required.push(RequiredClaim {
                claim: path,
                any_of,
                cause: format!("claim:{claim}"),
                index: 0,
            }),
            Err(why) => report.add(&format!("require {}: {why}", quoted(claim))),
        }
    }
    required
}

pub(super) fn claim_fields(route: &WrittenRoute, access: Access, report: &mut Report<'_>) -> Vec<ClaimField> {
    let Some(written) = &route.claims_to_headers else { return Vec::new() };
    if access == Access::Public {
        report.add("claims_to_headers needs a verified user, and a public route has none");
    }
    if written.len() > CLAIM_FIELDS_MAX {
        report.add(&format!("claims_to_headers: there are {}, over {CLAIM_FIELDS_MAX}", written.len()));
    }
    let mut fields: Vec<ClaimField> = Vec::new();
    for (field, claim) in written {
        if fields.iter().any(|known| known.field.eq_ignore_ascii_case(field)) {
            report.add(&format!("claims_to_headers names {field} twice"));
        }
        match field_name(field).and_then(|()| claim_path(claim)) {
            Ok(path) => fields.push(ClaimField {
                field: field.clone(),
                claim: path,
                cause: format!("claim_value:{claim}"),
                index: 0,
            }),
            Err(why) => report.add(&format!("claims_to_headers {}: {why}", quoted(field))),
        }
    }
    fields
}

/// What all routes want to know of a token.
pub(in crate::config) fn wanted_claims(layers: &mut Layers, routes: &mut [Route]) -> WantedClaims {
    let wanted = collected(routes);
    for (key, count, max) in [
        (REQUIRE.name, wanted.required.len(), REQUIREMENTS_MAX),
        (CLAIMS_TO_HEADERS.name, wanted.forwarded.len(), FORWARDED_CLAIMS_MAX),
    ] {
        if count > max {
            layers
                .mistakes
                .add("route", &format!("{key}: all routes have {count} different ones, over {max}"));
        }
    }
    wanted
}

/// Gives each thing that routes want its index: the same one for the same thing.
fn collected(routes: &mut [Route]) -> WantedClaims {
    let mut wanted = WantedClaims::default();
    for route in routes {
        for claim in &mut route.require {
            claim.index = index(&wanted.required, |known| {
                (&known.claim, &known.any_of) == (&claim.claim, &claim.any_of)
            });
            if claim.index == wanted.required.len() {
                wanted.required.push(claim.clone());
            }
        }
        for field in &mut route.claim_fields {
            field.index = index(&wanted.forwarded, |known| *known == field.claim);
            if field.index == wanted.forwarded.len() {
                wanted.forwarded.push(field.claim.clone());
            }
        }
    }
    wanted
}

/// Where the one stands that is the same, or where a new one will stand.
fn index<T>(known: &[T], is_same: impl Fn(&T) -> bool) -> usize {
    known.iter().position(is_same).unwrap_or(known.len())
}

/// A claim as a mistake, a log and a token may name it.
fn claim_path(written: &str) -> Parsed<ClaimPath> {
    let path = Some(written).filter(|path| path.len() <= CLAIM_PATH_BYTES_MAX);
    let path = path.filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic()));
    path.and_then(ClaimPath::parse).ok_or_else(|| format!("{} is not the name of a claim", quoted(written)))
}

/// The values of a requirement, in order.
fn any_of(values: &[String]) -> Parsed<Vec<String>> {
    if values.is_empty() {
        return Err("has no value, so nobody could have it".to_owned());
    }
    if values.len() > REQUIRED_VALUES_MAX {
        return Err(format!("has {} values, over {REQUIRED_VALUES_MAX}", values.len()));
    }
    if let Some(wrong) = values.iter().find(|value| value.is_empty() || value.len() > CLAIM_PATH_BYTES_MAX) {
        return Err(format!("{} is not 1 to {CLAIM_PATH_BYTES_MAX} bytes long", quoted(wrong)));
    }
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

/// A field below `X-Internal-` that the gateway does not set for other reasons. There is one spelling of each: letters,
/// digits and `-`.
fn field_name(name: &str) -> Parsed<()> {
    let lower = name.to_ascii_lowercase();
    let is_plain =
        name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match lower.strip_prefix("x-internal-") {
        Some("") | None => Err("is not the name of a field below X-Internal-".to_owned()),
        Some(_) if !is_plain => {
            Err(format!("is not a name of up to {NAME_BYTES_MAX} letters, digits and '-'"))
        }
        Some(rest) if OWN.contains(&rest) => Err("is a field that the gateway sets itself".to_owned()),
        Some(_) => Ok(()),
    }
}

/// The gateway's own fields below `X-Internal-`.
const OWN: [&str; 4] = ["user-id", "client-verified", "client-subject", "client-san"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::testing::{lowered_route, mistake};
    use crate::config::testing::{config, lowered_toml};

    #[test]
    fn a_requirement_is_one_value_or_a_list_of_them() {
        let route = lowered_route(
            "require = { role = ['editor', 'admin', 'admin'], 'realm_access.roles' = 'chat', level = 7, vip = true }\n",
        );
        let required = |claim: &str, any_of: &[&str], index| RequiredClaim {
            claim: ClaimPath::parse(claim).expect("a path"),
            any_of: any_of.iter().map(ToString::to_string).collect(),
            cause: format!("claim:{claim}"),
            index,
        };
        assert_eq!(
            route.require,
            [
                required("level", &["7"], 0),
                required("realm_access.roles", &["chat"], 1),
                required("role", &["admin", "editor"], 2),
                required("vip", &["true"], 3),
            ]
        );
    }

    #[test]
    fn a_field_has_its_claim() {
        let route = lowered_route("claims_to_headers = { 'X-Internal-Tenant' = 'org.tenant_id' }\n");
        let [field] = &route.claim_fields[..] else { panic!("one field") };
        assert_eq!((field.field.as_str(), field.claim.text.as_str()), ("X-Internal-Tenant", "org.tenant_id"));
        assert_eq!(field.cause, "claim_value:org.tenant_id");
    }

    #[test]
    fn the_same_thing_has_the_same_slot_on_every_route() {
        let route = |n: u32, keys: &str| {
            format!("[[route]]\nname = 'r{n}'\npaths = ['/{n}']\nupstream = 'a'\n{keys}\n")
        };
        let config = config(&format!(
            "[upstreams.a]\nurl = 'http://a'\n{}{}{}",
            route(1, "require = { a = '1', b = ['2', '3'] }\nclaims_to_headers = { X-Internal-T = 't' }"),
            route(2, "require = { b = ['3', '2'], c = '4' }\nclaims_to_headers = { X-Internal-U = 't' }"),
            route(3, "require = { a = '2' }\nclaims_to_headers = { X-Internal-T = 'u' }"),
        ));
        let indexes = |n: usize| config.routes[n].require.iter().map(|claim| claim.index).collect::<Vec<_>>();
        assert_eq!((indexes(0), indexes(1), indexes(2)), (vec![0, 1], vec![1, 2], vec![3]));
        let field = |n: usize| config.routes[n].claim_fields[0].index;
        assert_eq!((field(0), field(1), field(2)), (0, 0, 1));
        assert_eq!((config.jwt.claims.required.len(), config.jwt.claims.forwarded.len()), (4, 2));
    }

    #[test]
    fn tells_every_mistake_with_its_claim_or_field() {
        let values: Vec<String> = (0..=REQUIRED_VALUES_MAX).map(|n| format!("'{n}'")).collect();
        let fields: Vec<String> = (0..=CLAIM_FIELDS_MAX).map(|n| format!("X-Internal-{n} = 'a'")).collect();
        for (keys, told) in [
            (
                "access = 'public'\nrequire = { a = '1' }",
                "require needs a verified user, so the route has to be protected",
            ),
            (
                "access = 'public'\nclaims_to_headers = { X-Internal-A = 'a' }",
                "claims_to_headers needs a verified user, and a public route has none",
            ),
            ("require = { a = [] }", "require \"a\": has no value, so nobody could have it"),
            ("require = { a = '' }", "require \"a\": \"\" is not 1 to 256 bytes long"),
            ("require = { 'a b' = '1' }", "require \"a b\": \"a b\" is not the name of a claim"),
            (&format!("require = {{ a = [{}] }}", values.join(",")), "require \"a\": has 65 values, over 64"),
            (
                "claims_to_headers = { X-Tenant = 'a' }",
                "claims_to_headers \"X-Tenant\": is not the name of a field below X-Internal-",
            ),
            (
                "claims_to_headers = { X-Internal- = 'a' }",
                "claims_to_headers \"X-Internal-\": is not the name of a field below X-Internal-",
            ),
            (
                "claims_to_headers = { X_Internal_A = 'a' }",
                "claims_to_headers \"X_Internal_A\": is not the name of a field below X-Internal-",
            ),
            (
                "claims_to_headers = { 'X-Internal-A B' = 'a' }",
                "claims_to_headers \"X-Internal-A B\": is not a name of up to 64 letters, digits and '-'",
            ),
            (
                "claims_to_headers = { x-internal-USER-id = 'a' }",
                "claims_to_headers \"x-internal-USER-id\": is a field that the gateway sets itself",
            ),
            (
                "claims_to_headers = { X-Internal-Client-San = 'a' }",
                "claims_to_headers \"X-Internal-Client-San\": is a field that the gateway sets itself",
            ),
            (
                "claims_to_headers = { X-Internal-A = 'a', x-internal-a = 'b' }",
                "claims_to_headers names x-internal-a twice",
            ),
            (
                "claims_to_headers = { X-Internal-A = '' }",
                "claims_to_headers \"X-Internal-A\": \"\" is not the name of a claim",
            ),
            (
                &format!("claims_to_headers = {{ {} }}", fields.join(",")),
                "claims_to_headers: there are 17, over 16",
            ),
        ] {
            assert_eq!(mistake(&format!("{keys}\n")), format!("route \"shop\" (gateway.toml:3): {told}"));
        }
        let nested = mistake("require = { realm.roles = 'a' }\n");
        assert!(nested.contains("expected a string, number, boolean or an array of them"), "{nested}");
    }

    #[test]
    fn there_is_a_bound_for_what_all_routes_want_together() {
        let route = |n: usize| {
            format!(
                "[[route]]\nname = 'r{n}'\npaths = ['/{n}']\nupstream = 'a'\nrequire = {{ a = '{n}' }}\n\
                 claims_to_headers = {{ X-Internal-A = 'c{n}' }}\n"
            )
        };
        let routes: String = (0..=REQUIREMENTS_MAX).map(route).collect();
        let told =
            lowered_toml(&format!("[upstreams.a]\nurl = 'http://a'\n{routes}")).unwrap_err().to_string();
        assert_eq!(
            told,
            "route: require: all routes have 129 different ones, over 128\n\
             route: claims_to_headers: all routes have 129 different ones, over 32"
        );
    }
}
