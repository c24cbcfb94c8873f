//! Tokens in fields of their own: `X-Auth-Token: TOKEN`.

use crate::config::Route;
use crate::http::{Field, FieldKind, Request, same_name};

/// The values of the fields of these names. A field that is spelled otherwise is none, and does not go upstream either.
pub(super) fn tokens<'r>(request: &'r Request, names: &[String]) -> impl Iterator<Item = &'r [u8]> {
    let bytes = request.bytes();
    let is_it = |field: &&Field| {
        let name = field.name.of(bytes);
        names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    let fields = if names.is_empty() { &[][..] } else { &request.fields };
    fields.iter().filter(is_it).map(|field| field.value.of(bytes))
}

/// Whether a field of this name stays here: a server may read it as one of these names.
pub fn is_token_field(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|known| same_name(known.as_bytes(), name))
}

/// The names that no token can have, because they have a meaning already.
pub fn mistakes(routes: &[Route]) -> impl Iterator<Item = String> {
    routes.iter().flat_map(|route| {
        let is_taken = |name: &&String| FieldKind::of(name.as_bytes()) != FieldKind::Other;
        route.token_sources.fields.iter().filter(is_taken).map(|name| {
            let own = if name == "authorization" { " (write \"header\")" } else { "" };
            format!("{}: tokens_from \"header:{name}\": has a meaning of its own{own}", route.subject())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenSources;
    use crate::http1::{HeadLimits, RequestHead};

    #[test]
    fn a_token_has_its_name_in_any_case_and_another_spelling_stays_here() {
        let head =
            "GET / HTTP/1.1\r\nHost: h\r\nX-AUTH-token: a\r\nX_Auth_Token: b\r\nX-Auth-Token2: c\r\n\r\n";
        let mut request = Request::default();
        RequestHead::parse(head.as_bytes(), &HeadLimits::DEFAULT, &mut request).expect("a head");
        let names = ["x-auth-token".to_owned()];
        assert_eq!(tokens(&request, &names).collect::<Vec<_>>(), [b"a"]);
        assert_eq!(tokens(&request, &[]).count(), 0);
        assert!(is_token_field(b"X_Auth.Token", &names) && !is_token_field(b"X-Auth-Token2", &names));
    }

    #[test]
    fn a_name_with_a_meaning_of_its_own_is_a_mistake() {
        for (name, is_wrong) in [
            ("authorization", true),
            ("cookie", true),
            ("host", true),
            ("x-internal-token", true),
            ("x-token", false),
        ] {
            let token_sources = TokenSources { fields: vec![name.to_owned()], ..TokenSources::default() };
            let route = Route { token_sources, ..Route::new("r", &["/"]) };
            assert_eq!(mistakes(&[route]).next().is_some(), is_wrong, "{name}");
        }
    }
}
