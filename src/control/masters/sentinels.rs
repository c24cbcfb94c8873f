//! The master that sentinels name: the one that most of those name which answer, and that says itself that it is one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use redis::Value;

use super::dialogue::{Dialogue, Introduction};
use super::slots::{Resolve, text};
use crate::redis::slots::{Master, SLOTS};

/// Asks the sentinels, and the one whom they name.
///
/// # Errors
/// Why no master is known.
pub(super) fn ask(
    sentinels: &[SocketAddr],
    name: &str,
    (of_sentinels, of_master): (&Introduction, &Introduction),
    resolve: &mut Resolve<'_>,
) -> Result<Master, String> {
    let (mut named, mut why) = (Vec::new(), "no sentinel has an address".to_owned());
    for sentinel in sentinels {
        match name_of(*sentinel, name, of_sentinels) {
            Ok(found) => named.push(found),
            Err(error) => why = format!("{sentinel}: {error}"),
        }
    }
    if named.is_empty() {
        return Err(why);
    }
    let (host, port) = most(&named).ok_or("the sentinels do not agree on who the master is")?;
    let is_name = host.parse::<IpAddr>().is_err();
    let ip = host.parse().ok().or_else(|| resolve(&host)).ok_or(format!("{host} has no address"))?;
    let (address, host) = (SocketAddr::new(ip, port), is_name.then_some(host.as_str()));
    let mut master =
        Dialogue::open(address, host, of_master).map_err(|error| format!("{address}: {error}"))?;
    let role = master.ask(&redis::cmd("ROLE")).map_err(|error| format!("{address}: {error}"))?;
    if !is_master(&role) {
        return Err(format!("{address} is named as the master and is none"));
    }
    Ok(Master::new(address, host, vec![0..=SLOTS - 1]))
}

/// Whom one sentinel names.
fn name_of(sentinel: SocketAddr, name: &str, introduction: &Introduction) -> Result<(String, u16), String> {
    let mut dialogue = Dialogue::open(sentinel, None, introduction)?;
    let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).clone();
    match dialogue.ask(&question)? {
        Value::Nil => Err(format!("it knows no master {name:?}")),
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => {
                let port = text(port).and_then(|port| port.parse().ok()).ok_or("its answer has no port")?;
                let host = text(host).ok_or("its answer has no host")?;
                Ok((host.to_owned(), port))
            }
            _ => Err("its answer has another form".to_owned()),
        },
        _ => Err("its answer has another form".to_owned()),
    }
}

/// Whom more than half of them name.
fn most(named: &[(String, u16)]) -> Option<(String, u16)> {
    let mut votes = BTreeMap::new();
    named.iter().for_each(|one| *votes.entry(one).or_insert(0) += 1);
    votes.into_iter().find(|(_, count)| *count * 2 > named.len()).map(|(one, _)| one.clone())
}

fn is_master(role: &Value) -> bool {
    matches!(role, Value::Array(parts) if parts.first().and_then(text) == Some("master"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_counts_whom_most_of_those_name_who_answer() {
        let at = |port| ("10.0.0.1".to_owned(), port);
        assert_eq!(most(&[at(1)]), Some(at(1)));
        assert_eq!(most(&[at(1), at(2), at(2)]), Some(at(2)));
        assert_eq!(most(&[at(1), at(2)]), None, "they do not agree");
        assert_eq!(most(&[at(1), at(2), at(3)]), None);
    }

    #[test]
    fn a_replica_is_no_master() {
        let role =
            |word: &str| Value::Array(vec![Value::BulkString(word.as_bytes().to_vec()), Value::Int(0)]);
        assert!(is_master(&role("master")) && !is_master(&role("slave")) && !is_master(&Value::Nil));
        assert!(!is_master(&Value::Array(Vec::new())));
    }
}
