//! The certificates of a configuration file: each `[[certificate]]`.

use super::layers::Layers;
use super::meaning::Certificate;
use super::value::{Parsed, host_and_port, quoted};
use super::written::WrittenCertificate;
use crate::limits::{CERTIFICATES_MAX, LISTED_MAX};

/// The certificates of the file, in their order.
pub(super) fn of_file(layers: &mut Layers) -> Vec<Certificate> {
    let written = layers.written.iter().find(|written| !written.certificates.is_empty());
    let written = written.map(|written| written.certificates.clone()).unwrap_or_default();
    if written.len() > CERTIFICATES_MAX {
        layers.mistakes.add("certificate", &format!("there are over {CERTIFICATES_MAX}"));
        return Vec::new();
    }
    let mut all = Vec::new();
    for one in written {
        let subject = format!("certificate ({})", one.place);
        let wrong = one.wrong.clone();
        match certificate(one) {
            Ok(certificate) => all.push(certificate),
            Err(why) => layers.mistakes.add_beside(&wrong, &subject, &why),
        }
    }
    all
}

fn certificate(written: WrittenCertificate) -> Parsed<Certificate> {
    let WrittenCertificate { cert, key, names, place, wrong: _ } = written;
    if cert.is_empty() || key.is_empty() {
        return Err("`cert` and `key` are paths of files".to_owned());
    }
    let names = names.unwrap_or_default();
    if names.len() > LISTED_MAX {
        return Err(format!("has over {LISTED_MAX} names"));
    }
    let names = names.iter().map(|name| host_name(name)).collect::<Parsed<Vec<String>>>()?;
    Ok(Certificate { cert: cert.into(), key: key.into(), names, place: Some(place) })
}

/// A host name, or `*.` and a host name, in lower case and without the dot at its end.
fn host_name(text: &str) -> Parsed<String> {
    let (star, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
    let found = match host_and_port(name) {
        Some((name, None)) if !name.contains(':') => Some(name),
        _ => None,
    };
    let name = found.filter(|name| name.parse::<std::net::Ipv4Addr>().is_err());
    let name = name
        .ok_or_else(|| format!("{} is not a host name (use chat.example, *.chat.example)", quoted(text)))?;
    Ok(format!("{star}{}", name.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::lowered_toml;

    #[test]
    fn names_are_read_once_and_for_all() {
        assert_eq!(host_name("Chat.Example."), Ok("chat.example".to_owned()));
        assert_eq!(host_name("*.Chat.example"), Ok("*.chat.example".to_owned()));
        for wrong in ["", "*", "*.", "a.*.b", "**.a", "a:443", "127.0.0.1", "[::1]", "a b", "https://a"] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_have_the_line_of_their_certificate() {
        let told = lowered_toml(
            "[[certificate]]\ncert = ''\nkey = 'k'\n[[certificate]]\ncert = 'c'\nkey = 'k'\nnames = ['a:1']\n",
        );
        let told = told.map(|_| ()).unwrap_err().to_string();
        let expected = "certificate (gateway.toml:1): `cert` and `key` are paths of files\n\
                        certificate (gateway.toml:4): \"a:1\" is not a host name (use chat.example, \
                        *.chat.example)";
        assert_eq!(told, expected);
        let told = lowered_toml("[[certificate]]\ncert = 'c'\nname = 'a'\n").map(|_| ()).unwrap_err();
        assert!(told.to_string().contains("certificate (gateway.toml:3): `name` is not a key"), "{told}");
        let told = lowered_toml("certificate = 'c'\n").map(|_| ()).unwrap_err();
        assert!(told.to_string().starts_with("certificate (gateway.toml:1): is of type string"), "{told}");
    }
}
