//! `request_headers` and `response_headers` of a route. Which names are the gateway's own matters is known above.

use std::collections::BTreeMap;

use super::fields;
use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{FieldEdits, FixedField};
use crate::config::value::quoted;
use crate::config::written::WrittenRoute;
use crate::config::written_edits::WrittenEdits;
use crate::limits::{FIELD_EDITS_BYTES_MAX, FIELD_EDITS_MAX};

/// What changes in the fields of requests.
pub(super) const REQUEST_HEADERS: RouteKey = RouteKey {
    name: "request_headers",
    default: "none",
    help: "What changes in the fields that the upstream gets: a table of `set` and `add` (tables of name and value) \
           and `remove` (a list of names). [Which names](#fields-that-a-route-changes).",
};

/// What changes in the fields of responses.
pub(super) const RESPONSE_HEADERS: RouteKey = RouteKey {
    name: "response_headers",
    default: "none",
    help: "What changes in the fields that the client gets, likewise.",
};

pub(super) fn of_requests(route: &WrittenRoute, report: &mut Report<'_>) -> FieldEdits {
    edits(REQUEST_HEADERS.name, route.request_headers.as_ref(), report)
}

pub(super) fn of_responses(route: &WrittenRoute, report: &mut Report<'_>) -> FieldEdits {
    edits(RESPONSE_HEADERS.name, route.response_headers.as_ref(), report)
}

fn edits(key: &str, written: Option<&WrittenEdits>, report: &mut Report<'_>) -> FieldEdits {
    let Some(written) = written else { return FieldEdits::default() };
    let mut reader = Reader { key, names: Vec::new(), report };
    let edits = FieldEdits {
        set: reader.fields("set", written.set.as_ref()),
        add: reader.fields("add", written.add.as_ref()),
        remove: reader.names(written.remove.as_deref().unwrap_or_default()),
    };
    let count = reader.names.len();
    let bytes: usize = edits.written().map(|field| field.name.len() + field.value.len() + LINE_BYTES).sum();
    if count == 0 {
        report.add(&format!("{key} changes nothing (leave it out)"));
    }
    if count > FIELD_EDITS_MAX {
        report.add(&format!("{key}: there are {count} names, over {FIELD_EDITS_MAX}"));
    }
    if bytes > FIELD_EDITS_BYTES_MAX {
        report.add(&format!("{key}: names and values have {bytes} bytes, over {FIELD_EDITS_BYTES_MAX}"));
    }
    edits
}

struct Reader<'r, 'a> {
    key: &'r str,
    /// Those that were read, in lower case.
    names: Vec<String>,
    report: &'r mut Report<'a>,
}

impl Reader<'_, '_> {
    fn fields(&mut self, action: &str, written: Option<&BTreeMap<String, String>>) -> Vec<FixedField> {
        let mut fields = Vec::new();
        for (name, value) in written.into_iter().flatten() {
            self.name(action, name);
            if let Err(why) = fields::value(value, FIELD_EDITS_BYTES_MAX) {
                self.report.add(&format!("{} {action} {}: {why}", self.key, quoted(name)));
            }
            fields.push(FixedField { name: name.clone(), value: value.clone() });
        }
        fields
    }

    fn names(&mut self, written: &[String]) -> Vec<String> {
        written.iter().for_each(|name| self.name("remove", name));
        written.to_vec()
    }

    fn name(&mut self, action: &str, written: &str) {
        let name = fields::name(written);
        match &name {
            Ok(name) if self.names.contains(name) => {
                self.report.add(&format!("{} names {name} twice", self.key));
            }
            Ok(_) => {}
            Err(why) => self.report.add(&format!("{} {action} {}: {why}", self.key, quoted(written))),
        }
        self.names.push(name.unwrap_or_default());
    }
}

/// What a line has beside name and value.
const LINE_BYTES: usize = ": \r\n".len();

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use super::*;

    #[test]
    fn fields_are_set_added_and_removed() {
        let route = lowered_route(
            "request_headers = { set = { X-A = 'b c' } }\n\
             response_headers = { set = { X-Frame-Options = 'DENY' }, add = { Vary = 'X-A' }, remove = ['Server'] }\n",
        );
        let field = |name: &str, value: &str| FixedField { name: name.into(), value: value.into() };
        let set = vec![field("X-A", "b c")];
        assert_eq!(route.request_edits, FieldEdits { set, ..FieldEdits::default() });
        let shown = route.response_edits.to_string();
        assert_eq!(shown, "set X-Frame-Options: DENY, add Vary: X-A, remove Server");
        let plain = lowered_route("");
        assert!(plain.request_edits.is_empty() && plain.response_edits.is_empty());
    }

    #[test]
    fn a_mistake_is_named() {
        let long = "a".repeat(FIELD_EDITS_BYTES_MAX - 8);
        let many: Vec<String> = (0..=FIELD_EDITS_MAX).map(|n| format!("'x-{n}'")).collect();
        for (table, why) in [
            ("", "request_headers changes nothing"),
            ("set = {}", "request_headers changes nothing"),
            ("set = { X_A = 'a' }", "request_headers set \"X_A\": is not a name of up to 64"),
            ("remove = ['a b']", "request_headers remove \"a b\": is not a name"),
            ("set = { X-A = '' }", "request_headers set \"X-A\": its value is not 1 to"),
            (
                "add = { X-A = \"a\\r\\nX-B: c\" }",
                "request_headers add \"X-A\": its value is not visible ASCII",
            ),
            ("set = { X-A = 'a' }, remove = ['x-a']", "request_headers names x-a twice"),
            ("set = { X-A = 'a' }, add = { x-a = 'b' }", "request_headers names x-a twice"),
            ("remove = ['X-A', 'x-a']", "request_headers names x-a twice"),
            ("delete = ['X-A']", "`delete` is not a key here"),
            (&format!("set = {{ X-A = '{long}', X-B = 'b' }}"), "bytes, over 4096"),
            (&format!("remove = [{}]", many.join(",")), "there are 33 names, over 32"),
        ] {
            let told = mistake(&format!("request_headers = {{ {table} }}\n"));
            assert!(told.contains(why) && told.lines().count() == 1, "{table}: {told}");
        }
        assert!(
            mistake("response_headers = { set = { X-A = '' } }\n").contains("response_headers set \"X-A\"")
        );
    }
}
