//! A real Redis cluster on loopback, each node a process of its own, with nothing persisted but who is in it.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Redis, eventually, port_for_later};

/// A running cluster; dropped, its nodes are killed.
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
    /// The ports of the cluster's own connections. The ones that Redis would take are among those that the kernel gives
    /// to anybody's connections.
    buses: Vec<u16>,
    /// A port of each node, for what the test wants.
    pub further_ports: Vec<u16>,
    arguments: Vec<String>,
}

impl RedisCluster {
    /// Three masters, each with so many replicas.
    #[track_caller]
    pub fn start(replicas: usize) -> RedisCluster {
        RedisCluster::start_with(replicas, &[])
    }

    /// The same, each node with further arguments, in which `PORT` is a port of its own.
    #[track_caller]
    pub fn start_with(replicas: usize, further: &[&str]) -> RedisCluster {
        let mut arguments = vec![
            "--cluster-enabled yes",
            "--cluster-node-timeout 500",
            "--cluster-require-full-coverage no",
            "--repl-diskless-sync-delay 0",
        ];
        arguments.extend(further);
        let arguments: Vec<String> =
            arguments.iter().flat_map(|pair| pair.split(' ')).map(str::to_owned).collect();
        let nodes = 3 * (1 + replicas);
        let mut cluster =
            RedisCluster { nodes: Vec::new(), buses: Vec::new(), further_ports: Vec::new(), arguments };
        for _ in 0..nodes {
            cluster.buses.push(port_for_later());
            cluster.further_ports.push(port_for_later());
            let arguments = cluster.arguments(cluster.nodes.len());
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            cluster.nodes.push(Redis::start_with(&arguments));
        }
        cluster.cli(&["--cluster-replicas", &replicas.to_string(), "--cluster-yes"], "create", true);
        cluster.wait_for_peace();
        cluster
    }

    /// `redis-cluster://…`, as `REDIS_ADDR` takes it.
    pub fn addr(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Redis::addr).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    /// Every node knows the same masters, with all slots, and each replica has its copy.
    #[track_caller]
    pub fn wait_for_peace(&self) {
        eventually("every node knows all masters", || {
            self.nodes.iter().all(|node| {
                let ranges: Vec<(u32, u32)> = self.ranges(node);
                let slots: u32 = ranges.iter().map(|(first, last)| last - first + 1).sum();
                let info = node.cli(&["INFO", "replication"]);
                let is_up = node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
                slots == 16_384
                    && is_up
                    && (info.contains("role:master") || info.contains("master_link_status:up"))
            })
        });
    }

    /// The node that is the master of the slot of a key.
    #[track_caller]
    pub fn master_of(&self, key: &str) -> &Redis {
        let slot = self.slot(key);
        let found = self.nodes.iter().find(|node| self.owned(node).contains(&slot));
        found.unwrap_or_else(|| panic!("nobody has the slot of {key}"))
    }

    /// Another master than this one.
    #[track_caller]
    pub fn master_beside(&self, one: &Redis) -> &Redis {
        let is_other = |node: &&Redis| node.addr() != one.addr() && !self.owned(node).is_empty();
        self.nodes.iter().find(is_other).expect("another master")
    }

    /// The slot of a key, as a node computes it.
    pub fn slot(&self, key: &str) -> u32 {
        let node = self.nodes.iter().find(|node| node.runs()).expect("a node");
        node.cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot")
    }

    /// Whether this node has slots as a master, as it knows itself.
    pub fn is_master(&self, node: &Redis) -> bool {
        !self.owned(node).is_empty()
    }

    /// A replica of this master.
    #[track_caller]
    pub fn replica_of(&self, master: &Redis) -> &Redis {
        let port = format!("master_port:{}", master.addr().rsplit_once(':').expect("a port").1);
        let is_replica = |node: &&Redis| {
            node.runs() && node.cli(&["INFO", "replication"]).lines().any(|line| line.trim() == port)
        };
        self.nodes.iter().find(is_replica).expect("a replica")
    }

    /// The id of a node.
    pub fn id(&self, node: &Redis) -> String {
        node.cli(&["CLUSTER", "MYID"])
    }

    /// Moves so many slots from one master to another, with the keys in them, as an operator would.
    #[track_caller]
    pub fn reshard(&self, from: &Redis, to: &Redis, slots: u32) {
        let (from, to) = (self.id(from), self.id(to));
        let slots = slots.to_string();
        self.cli(
            &["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", &slots, "--cluster-yes"],
            "reshard",
            false,
        );
    }

    /// Starts a node again that was killed. It knows the others.
    #[track_caller]
    pub fn start_again(&self, node: &Redis) {
        let nth = self.nodes.iter().position(|known| known.addr() == node.addr()).expect("a node");
        let arguments = self.arguments(nth);
        node.start_again(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The arguments of the node with this number.
    fn arguments(&self, nth: usize) -> Vec<String> {
        let (bus, further) = (self.buses[nth].to_string(), self.further_ports[nth].to_string());
        let own = |word: &String| if word == "PORT" { further.clone() } else { word.clone() };
        self.arguments.iter().map(own).chain(["--cluster-port".to_owned(), bus]).collect()
    }

    /// The slots that a node says are its own.
    fn owned(&self, node: &Redis) -> Vec<u32> {
        if !node.runs() {
            return Vec::new();
        }
        let nodes = node.cli(&["CLUSTER", "NODES"]);
        let myself = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
        if !myself.contains("master") {
            return Vec::new();
        }
        let ranges = myself.split_whitespace().skip(8).filter(|range| !range.starts_with('['));
        ranges.flat_map(|range| both(range).map(|(first, last)| first..=last)).flatten().collect()
    }

    /// The ranges of slots that a node knows a master for.
    fn ranges(&self, node: &Redis) -> Vec<(u32, u32)> {
        let nodes = node.cli(&["CLUSTER", "NODES"]);
        let is_up = |line: &&str| line.contains("master") && !line.contains("fail");
        let ranges = nodes.lines().filter(is_up).flat_map(|line| line.split_whitespace().skip(8));
        ranges.filter_map(both).collect()
    }

    #[track_caller]
    fn cli(&self, arguments: &[&str], what: &str, is_of_all: bool) {
        for _ in 0..3 {
            let mut command = Command::new("redis-cli");
            command.args(["--cluster", what]);
            let nodes = self.nodes.iter().zip(&self.buses).map(|(node, bus)| match is_of_all {
                true => format!("{}@{bus}", node.addr()),
                false => node.addr(),
            });
            command.args(nodes.take(if is_of_all { self.nodes.len() } else { 1 })).args(arguments);
            let output = command.stdin(Stdio::null()).output().expect("redis-cli is installed");
            if output.status.success() {
                return;
            }
            let told = String::from_utf8_lossy(&output.stdout);
            eprintln!("redis-cli --cluster {what}: {told}");
            thread::sleep(Duration::from_millis(200));
        }
        panic!("redis-cli --cluster {what} fails");
    }
}

fn both(range: &str) -> Option<(u32, u32)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}
