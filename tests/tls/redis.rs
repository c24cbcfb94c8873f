//! TLS to Redis: whom the gateway trusts, what it shows, and a cluster whose nodes each prove who they are.

use super::authority::Authority;
use super::files::Folder;
use crate::harness::*;

/// Files for a server and a client, both of one authority.
struct Files {
    folder: Folder,
}

impl Files {
    fn new(names: &[&str]) -> Files {
        let (folder, authority) = (Folder::new(), Authority::new());
        let (server, client) = (authority.issue(names), authority.issue(&["gateway.internal"]));
        folder.write("ca.pem", &authority.pem());
        folder.write("strangers.pem", &Authority::new().pem());
        for (name, issued) in [("server", server), ("client", client)] {
            folder.write(&format!("{name}.pem"), &issued.pem());
            folder.write(&format!("{name}.key"), &issued.key_pem());
        }
        Files { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    /// What a server is started with. It takes nobody without a certificate.
    fn of_server(&self) -> Vec<String> {
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| self.path(name));
        vec![
            format!("--tls-cert-file {cert}"),
            format!("--tls-key-file {key}"),
            format!("--tls-ca-cert-file {ca}"),
        ]
    }

    /// A gateway with the files of a client, one request a hundred seconds.
    fn gateway(&self, address: &str, origin: &Origin) -> Builder {
        let builder = Gateway::builder().everywhere(origin).env("RATE_LIMIT_STORE", "redis");
        let builder = builder.env("RATE_LIMIT_RPS", "0.01").env("RATE_LIMIT_BURST", "1");
        let builder = builder.env("REDIS_ADDR", address).env("REDIS_TIMEOUT", "10s");
        let builder = builder.env("REDIS_CA_FILE", &self.path("ca.pem"));
        builder
            .env("REDIS_CERT_FILE", &self.path("client.pem"))
            .env("REDIS_KEY_FILE", &self.path("client.key"))
    }
}

fn me(user: &str) -> Request {
    Request::new("GET", "/api/v1/users/me").token(user)
}

/// Whether limits hold: of two requests of this user, the second is refused.
fn are_limited(gateway: &Gateway, user: &str) -> bool {
    [me(user), me(user)].map(|request| gateway.ask(request).status) == [200, 429]
}

#[test]
fn redis_proves_who_it_is_and_so_does_the_gateway() {
    let (files, origin) = (Files::new(&["localhost", "redis.internal"]), Origin::echo());
    let port = port_for_later();
    let arguments: Vec<String> = [files.of_server(), vec![format!("--tls-port {port}")]].concat();
    let arguments: Vec<&str> = arguments.iter().flat_map(|pair| pair.split(' ')).collect();
    let _redis = Redis::start_with(&arguments);
    let named = format!("rediss://localhost:{port}");
    let gateway = files.gateway(&named, &origin).start();
    gateway.wait_log("Redis answers");
    assert!(are_limited(&gateway, "ann"));
    // An address is another name than the certificate's, unless the operator says which one it is for.
    let addressed = format!("rediss://127.0.0.1:{port}");
    let gateway = files.gateway(&addressed, &origin).env("REDIS_SERVER_NAME", "redis.internal").start();
    gateway.wait_log("Redis answers");
    assert!(are_limited(&gateway, "bob"));
    for (what, builder) in [
        ("another name", files.gateway(&addressed, &origin)),
        (
            "another authority",
            files.gateway(&named, &origin).env("REDIS_CA_FILE", &files.path("strangers.pem")),
        ),
        (
            "no certificate",
            files.gateway(&named, &origin).without("REDIS_CERT_FILE").without("REDIS_KEY_FILE"),
        ),
    ] {
        let gateway = builder.start();
        let line = gateway.wait_log("Redis is out of reach");
        assert!(line.contains("cause="), "{what}: {line}");
        assert!(!are_limited(&gateway, "eve"), "{what}: requests pass");
    }
}

#[test]
fn a_file_that_is_missing_is_the_operators_mistake() {
    let (files, origin) = (Files::new(&["localhost"]), Origin::echo());
    let builder = files.gateway("rediss://localhost:1", &origin).env("REDIS_CA_FILE", "/does/not/exist");
    let (status, _, told) = builder.run(&[]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("REDIS_CA_FILE: ") && told.contains("/does/not/exist"), "{told}");
}

#[test]
fn each_node_of_a_cluster_proves_its_address() {
    let (files, origin) = (Files::new(&["127.0.0.1"]), Origin::echo());
    let mut arguments = files.of_server();
    arguments.extend(["--tls-port PORT".to_owned(), "--tls-cluster yes".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = RedisCluster::start_with(0, &arguments);
    let seeds: Vec<String> = cluster.further_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let gateway = files.gateway(&format!("rediss-cluster://{}", seeds.join(",")), &origin).start();
    gateway.wait_log("the masters and their slots are other ones");
    for nth in 0..12 {
        assert!(are_limited(&gateway, &format!("user{nth}")), "{nth}: {:?}", gateway.log());
    }
    assert_eq!(gateway.metric("redis_nodes"), 3);
    let stranger = files.gateway(&format!("rediss-cluster://{}", seeds[0]), &origin);
    let stranger = stranger.env("REDIS_SERVER_NAME", "redis.internal").start();
    stranger.wait_log("no node says which master has which slots");
}
