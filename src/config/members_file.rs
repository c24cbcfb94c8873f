//! The file that lists the members of an upstream (`members_file`).

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::meaning::{Members, Upstream, WeightedAddress};
use super::regular_file;
use super::routes::members;
use super::written_url::WrittenUrl;

/// Reads the members that a file lists: `members = ["http://10.0.0.1:80", { url = …, weight = 3 }]`. Blocks.
///
/// # Errors
/// One sentence with the file and, where it is about its text, the line.
pub fn read(path: &Path, is_tls: bool) -> Result<Vec<WeightedAddress>, String> {
    let bytes = regular_file::read_secret_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    parse(&text, is_tls).map_err(|(offset, why)| {
        let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}: {why}", path.display())
    })
}

/// What is wrong with the files of these upstreams, as `upstream "NAME": …`. Blocks.
pub fn mistakes(upstreams: &[Upstream]) -> Vec<String> {
    let judged = |upstream: &Upstream| match &upstream.members {
        Members::File(path) => {
            let why = read(path, upstream.tls.is_some()).err()?;
            Some(format!("upstream {:?}: members_file {why}", upstream.name))
        }
        Members::Listed(_) | Members::Srv(_) => None,
    };
    upstreams.iter().filter_map(judged).collect()
}

/// The members, or where the text is wrong, in bytes, and why.
fn parse(text: &str, is_tls: bool) -> Result<Vec<WeightedAddress>, (usize, String)> {
    let one_line = |message: &str| message.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = DeTable::parse(text)
        .map_err(|error| (error.span().map_or(0, |span| span.start), one_line(error.message())))?;
    let mut found: Option<Vec<Spanned<DeValue<'_>>>> = None;
    for (key, value) in table.into_inner() {
        let start = value.span().start;
        match (key.get_ref().as_ref(), value.into_inner()) {
            ("members", DeValue::Array(items)) => found = Some(items.into_iter().collect()),
            ("members", _) => return Err((start, "`members` is not an array".to_owned())),
            (other, _) => return Err((key.span().start, format!("`{other}` is not a key of this file"))),
        }
    }
    let items = found.ok_or((0, "has no key `members`".to_owned()))?;
    let (mut starts, mut urls) = (Vec::new(), Vec::new());
    for item in items {
        let start = item.span().start;
        let url = WrittenUrl::deserialize(ValueDeserializer::from(item))
            .map_err(|error| (start, one_line(error.message())))?;
        starts.push(start);
        urls.push(url);
    }
    members::of_file(&urls, is_tls).map_err(|(nth, why)| (starts[nth], why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamAddress;
    use crate::config::testing::TempFile;

    fn told(name: &str, text: &str, is_tls: bool) -> String {
        let file = TempFile::new(name, text.as_bytes());
        let told = read(Path::new(file.path()), is_tls).map(|_| ()).expect_err(text);
        told.strip_prefix(file.path()).expect("the file").to_owned()
    }

    #[test]
    fn lists_members_with_weights() {
        let text = "# written by the orchestrator\nmembers = [\n  'http://10.0.0.1:1',\n  \
                    { url = 'http://b', weight = 3 },\n]\n";
        let file = TempFile::new("members-read", text.as_bytes());
        let found = read(Path::new(file.path()), false).expect("valid");
        let tcp = |host: &str, port| UpstreamAddress::Tcp { host: host.to_owned(), port };
        assert_eq!(
            found,
            [
                WeightedAddress { address: tcp("10.0.0.1", 1), weight: 1 },
                WeightedAddress { address: tcp("b", 80), weight: 3 }
            ]
        );
        assert_eq!(parse("members = []\n", false), Ok(vec![]), "nobody, for now");
        assert!(parse("members = ['https://a']", true).is_ok());
    }

    #[test]
    fn tells_the_line_of_what_is_wrong() {
        for (text, is_tls, why) in [
            ("members = [\n'http://a',\n'a']", false, ":3: \"a\" is not a URL"),
            ("\nmembers = ['http://a'", false, ":2: "),
            ("members = 'http://a'", false, ":1: `members` is not an array"),
            ("", false, ":1: has no key `members`"),
            ("members = []\nmember = 1", false, ":2: `member` is not a key of this file"),
            (
                "members = [\n'http://a',\n{ url = 'http://b', weight = 0 }]",
                false,
                ":3: \"http://b\": weight \"0\"",
            ),
            ("members = ['http://a',\n{ weight = 1 }]", false, ":2: an item has no key `url`"),
            ("members = ['http://a',\n'http://a']", false, ":2: names \"http://a\" twice"),
            ("members = ['https://a']", false, ":1: is https, and its upstream has no `tls`"),
            ("members = ['http://a']", true, ":1: is http://, and its upstream has `tls`"),
        ] {
            let told = told("members-wrong", text, is_tls);
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = TempFile::new("members-open", b"members = []");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o666)).expect("our file");
        assert!(read(Path::new(file.path()), false).unwrap_err().contains("writable by everybody"));
    }
}
