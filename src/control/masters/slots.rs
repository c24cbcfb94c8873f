//! What a node of a cluster says of the masters: `CLUSTER SLOTS`
//! (<https://redis.io/docs/latest/commands/cluster-slots/>) and `CLUSTER INFO`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use redis::Value;

use super::dialogue::Dialogue;
use crate::redis::slots::{Master, SLOTS};

/// What one node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// How new it is: the epoch of the cluster as the node knows it.
    pub(super) epoch: u64,
    /// The masters that have slots.
    pub(super) masters: Vec<Master>,
    /// Every node that has slots or a copy of them.
    pub(super) nodes: Vec<SocketAddr>,
}

/// Asks a node.
///
/// # Errors
/// Why it says nothing that can be used.
pub(super) fn ask(node: &mut Dialogue, resolve: &mut Resolve<'_>) -> Result<Said, String> {
    let info = node.ask(redis::cmd("CLUSTER").arg("INFO"))?;
    let epoch = epoch(&info).ok_or("it does not say which epoch it is in")?;
    let slots = node.ask(redis::cmd("CLUSTER").arg("SLOTS"))?;
    let (masters, nodes) =
        read(&slots, node.address.ip(), resolve).ok_or("its CLUSTER SLOTS has another form")?;
    if masters.is_empty() {
        return Err("it knows nobody who has slots".to_owned());
    }
    Ok(Said { epoch, masters, nodes })
}

/// Finds the address of a name.
pub(super) type Resolve<'r> = dyn FnMut(&str) -> Option<IpAddr> + 'r;

/// The number behind `cluster_current_epoch:`.
fn epoch(info: &Value) -> Option<u64> {
    let text = text(info)?;
    text.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:")?.trim().parse().ok())
}

/// The masters, and every node. `None`: it has another form. A node whose address nobody knows is left out.
fn read(slots: &Value, asked: IpAddr, resolve: &mut Resolve<'_>) -> Option<(Vec<Master>, Vec<SocketAddr>)> {
    let Value::Array(ranges) = slots else { return None };
    let (mut masters, mut nodes) = (BTreeMap::<SocketAddr, Master>::new(), Vec::new());
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), of_range @ ..] = range.as_slice() else { return None };
        let (first, last) = (slot(*first)?, slot(*last)?);
        if first > last {
            return None;
        }
        for (nth, node) in of_range.iter().enumerate() {
            let Some((address, host)) = place(node, asked, resolve) else { continue };
            if !nodes.contains(&address) {
                nodes.push(address);
            }
            if nth == 0 {
                let new = || Master::new(address, host, Vec::new());
                masters.entry(address).or_insert_with(new).slots.push(first..=last);
            }
        }
    }
    masters.values_mut().for_each(|master| master.slots.sort_by_key(|range| *range.start()));
    Some((masters.into_values().collect(), nodes))
}

fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// The address of a node, and its host if that is a name: `[host, port, id, [more…]]`. A node that knows no host is
/// where the asked one is.
fn place<'v>(
    node: &'v Value,
    asked: IpAddr,
    resolve: &mut Resolve<'_>,
) -> Option<(SocketAddr, Option<&'v str>)> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), more @ ..] = parts.as_slice() else { return None };
    let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
    let host = match host {
        Value::Nil => "",
        host => text(host)?,
    };
    if host.is_empty() {
        return Some((SocketAddr::new(asked, port), None));
    }
    if let Ok(ip) = host.parse() {
        return Some((SocketAddr::new(ip, port), None));
    }
    // `?` is a host that the node does not know (yet).
    let ip = if host == "?" { None } else { stated_ip(more).or_else(|| resolve(host)) };
    ip.map(|ip| (SocketAddr::new(ip, port), Some(host)))
}

/// The address that stands beside a name: `["ip", "10.0.0.1"]` in the node's further data.
fn stated_ip(more: &[Value]) -> Option<IpAddr> {
    let Some(Value::Array(pairs)) = more.get(1) else { return None };
    let [name, value] = pairs.chunks_exact(2).find(|pair| text(&pair[0]) == Some("ip"))? else { return None };
    text(name).and_then(|_| text(value)?.parse().ok())
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64, more: &[&str]) -> Value {
        let more = more.iter().map(|word| words(word)).collect();
        Value::Array(vec![host, Value::Int(port), words("id"), Value::Array(more)])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    fn read_at(slots: &Value) -> Option<(Vec<Master>, Vec<SocketAddr>)> {
        let asked = "10.0.0.9".parse().unwrap();
        read(slots, asked, &mut |host| (host == "known").then(|| "10.0.0.7".parse().unwrap()))
    }

    #[test]
    fn reads_masters_and_replicas_in_every_form_of_an_address() {
        let slots = Value::Array(vec![
            range(100, 200, vec![node(words("127.0.0.1"), 7001, &[]), node(words("127.0.0.1"), 7004, &[])]),
            range(0, 50, vec![node(words("127.0.0.1"), 7001, &[])]),
            range(300, 400, vec![node(Value::Nil, 7002, &[])]),
            range(500, 600, vec![node(words("known"), 7003, &[])]),
            range(601, 602, vec![node(words("named"), 7003, &["ip", "10.0.0.8"])]),
            range(700, 800, vec![node(words("?"), 7003, &[])]),
            range(900, 901, vec![node(words("stranger"), 7003, &[])]),
        ]);
        let (masters, nodes) = read_at(&slots).expect("read");
        let shown: Vec<String> = masters
            .iter()
            .map(|one| format!("{} {} {}", one.address, one.host.as_deref().unwrap_or("-"), one.slots_text()))
            .collect();
        assert_eq!(
            shown,
            [
                "10.0.0.7:7003 known 101 (500-600)",
                "10.0.0.8:7003 named 2 (601-602)",
                "10.0.0.9:7002 - 101 (300-400)",
                "127.0.0.1:7001 - 152 (0-50 100-200)",
            ]
        );
        assert!(nodes.contains(&"127.0.0.1:7004".parse().unwrap()) && nodes.len() == 5);
    }

    #[test]
    fn what_has_another_form_is_refused_as_a_whole() {
        let good = || node(words("127.0.0.1"), 7001, &[]);
        for wrong in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(-1, 5, vec![good()])]),
            Value::Array(vec![range(5, 4, vec![good()])]),
            Value::Array(vec![range(0, 16_384, vec![good()])]),
            Value::Array(vec![Value::Array(vec![Value::Int(1)])]),
        ] {
            assert_eq!(read_at(&wrong), None, "{wrong:?}");
        }
        let no_port = Value::Array(vec![range(0, 1, vec![node(words("127.0.0.1"), 0, &[])])]);
        assert_eq!(read_at(&no_port), Some((Vec::new(), Vec::new())));
        assert_eq!(epoch(&words("cluster_state:ok\r\ncluster_current_epoch:12\r\n")), Some(12));
        assert_eq!(epoch(&words("cluster_current_epoch:x")), None);
    }
}
