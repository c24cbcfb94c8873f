//! What routes want to know of the claims of a verified token: looked up once, and kept with it.
//!
//! Nothing else of the claims stays. A requirement leaves one bit, a claim that goes into a field the text of that
//! field, so that a request with a token that is known already costs a look at a bit.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use super::json::{Json, Object};
use crate::config::{RequiredClaim, WantedClaims};
use crate::limits::{CLAIM_FIELD_BYTES_MAX, REQUIREMENTS_MAX};

/// What is kept of the claims of one token. A copy of it shares the memory; where no route wants to know anything there
/// is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeptClaims(Option<Rc<Kept>>);

#[derive(PartialEq, Eq)]
struct Kept {
    /// A bit for each index of [`WantedClaims::required`] whose requirement the token meets.
    met: u128,
    /// By index of [`WantedClaims::forwarded`].
    values: Box<[ClaimValue]>,
}

/// A claim as the value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue {
    /// The token does not have it: absent, `null`, an empty text or an empty array.
    Absent,
    /// 1 to [`CLAIM_FIELD_BYTES_MAX`] visible ASCII characters, with spaces only between them.
    Text(Box<str>),
    /// It cannot be the value of a field.
    Unfit,
}

impl KeptClaims {
    /// Takes out of claims what is wanted.
    pub(super) fn of(wanted: &WantedClaims, claims: &Object<'_>) -> KeptClaims {
        if *wanted == WantedClaims::default() {
            return KeptClaims(None);
        }
        let bit = |required: &RequiredClaim| match is_met(required, claims.at(&required.claim.names)) {
            true => 1 << required.index,
            false => 0,
        };
        let met = wanted.required.iter().map(bit).fold(0, |met, bit| met | bit);
        let values = wanted.forwarded.iter().map(|claim| ClaimValue::of(claims.at(&claim.names))).collect();
        KeptClaims(Some(Rc::new(Kept { met, values })))
    }

    /// Whether the token meets a requirement.
    pub fn meets(&self, required: &RequiredClaim) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.met >> required.index & 1 == 1)
    }

    /// The claim of this index of [`WantedClaims::forwarded`].
    pub fn value(&self, index: usize) -> &ClaimValue {
        self.0.as_ref().and_then(|kept| kept.values.get(index)).unwrap_or(&ClaimValue::Absent)
    }
}

impl fmt::Debug for KeptClaims {
    /// Nothing of its contents: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptClaims(…)")
    }
}

impl ClaimValue {
    fn of(claim: Option<&Json<'_>>) -> ClaimValue {
        match claim {
            None | Some(Json::Null) => ClaimValue::Absent,
            Some(Json::Array(items)) => {
                let texts: Option<Vec<Cow<'_, str>>> = items.iter().map(text).collect();
                // Joined with commas, so none of them may have one: the service would see another list.
                let list =
                    texts.filter(|texts| texts.iter().all(|text| !text.is_empty() && !text.contains(',')));
                list.map_or(ClaimValue::Unfit, |texts| ClaimValue::fit(&texts.join(",")))
            }
            Some(single) => text(single).map_or(ClaimValue::Unfit, |text| ClaimValue::fit(&text)),
        }
    }

    fn fit(text: &str) -> ClaimValue {
        let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match text.len() {
            0 => ClaimValue::Absent,
            1..=CLAIM_FIELD_BYTES_MAX if is_visible && text.trim_matches(' ') == text => {
                ClaimValue::Text(text.into())
            }
            _ => ClaimValue::Unfit,
        }
    }
}

fn is_met(required: &RequiredClaim, claim: Option<&Json<'_>>) -> bool {
    let is_scope = required.claim.names.last().is_some_and(|name| SCOPES.contains(&name.as_str()));
    let has = |wanted: &str| match claim {
        Some(Json::Array(items)) => items.iter().filter_map(text).any(|item| item == wanted),
        // "a list of space-delimited, case-sensitive strings" (RFC 6749 §3.3).
        Some(Json::String(scope)) if is_scope => scope.split(' ').any(|word| word == wanted),
        Some(single) => text(single).is_some_and(|text| text == wanted),
        None => false,
    };
    required.any_of.iter().any(|wanted| match is_scope {
        true => wanted.split(' ').all(has),
        false => has(wanted),
    })
}

/// A string as it is, any other single value as JSON writes it. `None`: an object, an array, `null`, or a number that a
/// double does not hold exactly.
fn text<'j>(value: &'j Json<'_>) -> Option<Cow<'j, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Whole(number) => Some(Cow::Owned(number.to_string())),
        Json::Real(number) if number.abs() < EXACT_MAX => Some(Cow::Owned(number.to_string())),
        Json::Bool(true) => Some(Cow::Borrowed("true")),
        Json::Bool(false) => Some(Cow::Borrowed("false")),
        Json::Object(_) | Json::Array(_) | Json::Real(_) | Json::Null => None,
    }
}

/// Claims that list scopes: `scope` (RFC 8693 §4.2), and `scp`, as some issuers call it.
const SCOPES: [&str; 2] = ["scope", "scp"];
/// Up to here a double holds every whole number.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;
const _: () = assert!(REQUIREMENTS_MAX <= u128::BITS as usize);

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use crate::config::ClaimPath;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text).expect("a path")
    }

    fn required(claim: &str, any_of: &[&str]) -> RequiredClaim {
        let any_of = any_of.iter().map(ToString::to_string).collect();
        RequiredClaim { claim: path(claim), any_of, cause: String::new(), index: 0 }
    }

    fn meets(claims: &str, claim: &str, any_of: &[&str]) -> bool {
        let required = required(claim, any_of);
        let wanted = WantedClaims { required: vec![required.clone()], forwarded: Vec::new() };
        KeptClaims::of(&wanted, &json::object(claims.as_bytes()).expect("an object")).meets(&required)
    }

    fn value(claim: &str) -> ClaimValue {
        let wanted = WantedClaims { required: Vec::new(), forwarded: vec![path("x")] };
        let claims = format!("{{\"x\":{claim}}}");
        KeptClaims::of(&wanted, &json::object(claims.as_bytes()).expect("an object")).value(0).clone()
    }

    #[test]
    fn a_requirement_is_met_by_the_value_or_by_a_list_that_has_it() {
        for (claims, is_met) in [
            (r#"{"role":"editor"}"#, true),
            (r#"{"role":"admin"}"#, true),
            (r#"{"role":["guest","admin"]}"#, true),
            (r#"{"role":"\u0065ditor"}"#, true),
            (r#"{"role":"Editor"}"#, false),
            (r#"{"role":"editors"}"#, false),
            (r#"{"role":"editor admin"}"#, false),
            (r#"{"role":["editor admin"]}"#, false),
            (r#"{"role":[["editor"]]}"#, false),
            (r#"{"role":{"editor":true}}"#, false),
            (r#"{"role":[]}"#, false),
            (r#"{"role":null}"#, false),
            (r#"{"roles":"editor"}"#, false),
            (r#"{"a":{"role":"editor"}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(meets(claims, "role", &["admin", "editor"]), is_met, "{claims}");
        }
    }

    #[test]
    fn numbers_and_words_compare_by_their_text() {
        for (value, text, is_met) in [
            ("7", "7", true),
            ("7.5", "7.5", true),
            ("-7", "-7", true),
            ("7.0", "7", true),
            ("\"7\"", "7", true),
            ("[1,7]", "7", true),
            ("true", "true", true),
            ("false", "true", false),
            ("70", "7", false),
            ("null", "null", false),
            ("18446744073709551615", "18446744073709551615", true),
            // As doubles they would be the same.
            ("-9007199254740993", "-9007199254740992", false),
        ] {
            assert_eq!(meets(&format!("{{\"x\":{value}}}"), "x", &[text]), is_met, "{value}");
        }
    }

    #[test]
    fn scopes_are_words_and_several_in_one_text_are_all_wanted() {
        for (claims, wanted, is_met) in [
            (r#"{"scope":"chat:read chat:write"}"#, "chat:write", true),
            (r#"{"scope":"chat:write"}"#, "chat:write", true),
            (r#"{"scope":["chat:read","chat:write"]}"#, "chat:write", true),
            (r#"{"scope":"chat:read chat:write"}"#, "chat:write chat:read", true),
            (r#"{"scope":["chat:read","chat:write"]}"#, "chat:write chat:read", true),
            (r#"{"scope":"chat:read"}"#, "chat:write chat:read", false),
            (r#"{"scope":"chat:writer xchat:write"}"#, "chat:write", false),
            (r#"{"scope":""}"#, "chat:write", false),
        ] {
            assert_eq!(meets(claims, "scope", &[wanted]), is_met, "{claims}");
            let scp = claims.replace("scope", "scp");
            assert_eq!(meets(&scp, "scp", &["x", wanted]), is_met, "{scp}");
            assert_eq!(
                meets(&format!("{{\"a\":{claims}}}"), "a.scope", &[wanted]),
                is_met,
                "nested {claims}"
            );
        }
    }

    #[test]
    fn a_path_leads_inwards() {
        for (claims, path, is_met) in [
            (r#"{"realm_access":{"roles":["chat"]}}"#, "realm_access.roles", true),
            (r#"{"a":{"b":{"c":"chat"}}}"#, "a.b.c", true),
            (r#"{"https://chat.example/roles":["chat"]}"#, "https://chat.example/roles", true),
            (r#"{"a.b":{"c":"chat"}}"#, "/a.b/c", true),
            (r#"{"a.b":"chat"}"#, "a.b", false),
            (r#"{"a":["b"]}"#, "a.b", false),
            (r#"{"a":"chat"}"#, "a.b", false),
            (r#"{"a":{"b":"chat"}}"#, "a.b.c", false),
        ] {
            assert_eq!(meets(claims, path, &["chat"]), is_met, "{claims} {path}");
        }
    }

    #[test]
    fn each_requirement_has_its_own_bit() {
        let indexes = 0..REQUIREMENTS_MAX;
        let wanted = indexes.map(|index| RequiredClaim { index, ..required("n", &[&index.to_string()]) });
        let wanted = WantedClaims { required: wanted.collect(), forwarded: Vec::new() };
        for n in [0, 1, 64, REQUIREMENTS_MAX - 1] {
            let claims = format!("{{\"n\":{n}}}");
            let kept = KeptClaims::of(&wanted, &json::object(claims.as_bytes()).expect("an object"));
            let met: Vec<_> = wanted.required.iter().filter(|required| kept.meets(required)).collect();
            assert_eq!(met.iter().map(|required| required.index).collect::<Vec<_>>(), [n]);
        }
    }

    #[test]
    fn a_field_gets_one_line_of_visible_characters_or_the_claim_is_unfit() {
        let long = "x".repeat(CLAIM_FIELD_BYTES_MAX);
        for (claim, text) in [
            ("\"acme\"", "acme"),
            ("\"Ann Lee\"", "Ann Lee"),
            ("\"a,b\"", "a,b"),
            ("7", "7"),
            ("true", "true"),
            ("[\"a\",\"b\",3]", "a,b,3"),
            (&format!("\"{long}\""), &long),
        ] {
            assert_eq!(value(claim), ClaimValue::Text(text.into()), "{claim}");
        }
        for claim in ["null", "\"\"", "[]"] {
            assert_eq!(value(claim), ClaimValue::Absent, "{claim}");
        }
        for claim in [
            r#""a\r\nX-Internal-User-Id: root""#,
            r#""a\u0000""#,
            r#""a\tb""#,
            r#""\u007f""#,
            "\"é\"",
            "\" a\"",
            "\"a \"",
            "{\"a\":1}",
            "[[\"a\"]]",
            "[\"a,b\"]",
            "[\"a\",\"\"]",
            "[null]",
            "[\"a\",\"\\n\"]",
            &format!("\"{long}x\""),
        ] {
            assert_eq!(value(claim), ClaimValue::Unfit, "{claim}");
        }
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_wanted() {
        let kept = KeptClaims::of(&WantedClaims::default(), &json::object(b"{\"x\":1}").expect("an object"));
        assert_eq!(kept, KeptClaims(None));
        assert!(!kept.meets(&required("x", &["1"])) && *kept.value(0) == ClaimValue::Absent);
    }

    #[test]
    fn shows_nothing_of_the_claims() {
        let wanted = WantedClaims { required: Vec::new(), forwarded: vec![path("x")] };
        let kept = KeptClaims::of(&wanted, &json::object(b"{\"x\":\"hunter2\"}").expect("an object"));
        assert_eq!(format!("{kept:?}"), "KeptClaims(…)");
    }
}
