//! The servers that other tests run on.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use cacheops_tests::servers::{
    Cluster, Mode, PATIENCE, Program, Proxy, Sentinel, Server, slot_of, wait_at_most,
};

const SHORT: Duration = Duration::from_millis(50);

fn set(server: &Server, key: &str, value: &str) {
    assert_eq!(server.command(&["SET", key, value]).as_deref(), Ok("OK"));
}

fn get(server: &Server, key: &str) -> String {
    server.command(&["GET", key]).unwrap()
}

fn programs() -> impl Iterator<Item = Program> {
    let is_installed = |program: &Program| Server::is_installed(*program);
    [Program::Redis, Program::Valkey].into_iter().filter(is_installed)
}

#[test]
fn replies_are_as_text() {
    let server = Server::start();
    assert_eq!(get(&server, "missing"), "(nil)");
    assert_eq!(server.command(&["RPUSH", "list", "a", "ä\r\n", ""]).as_deref(), Ok("3"));
    assert_eq!(server.command(&["LRANGE", "list", "0", "-1"]).as_deref(), Ok("a\nä\r\n\n"));
    assert_eq!(server.command(&["KEYS", "none*"]).as_deref(), Ok(""));
    let error = server.command(&["GET", "list"]).unwrap_err();
    assert!(error.starts_with("WRONGTYPE "), "{error}");
    assert_eq!(server.info("role"), "master");
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}/", server.port()));
}

#[test]
fn a_server_is_killed_and_starts_again() {
    for program in programs() {
        let options = Server::options().program(program).arg("--maxmemory", "8mb");
        let server = options.start();
        set(&server, "key", "value");
        server.kill();
        assert!(!server.is_running());
        let error = server.command(&["PING"]).unwrap_err();
        assert!(error.contains("refused"), "{error}");
        server.restart();
        assert_eq!(get(&server, "key"), "(nil)");
        let memory = server.command(&["CONFIG", "GET", "maxmemory"]);
        assert_eq!(memory.as_deref(), Ok("maxmemory\n8388608"));
    }
}

#[test]
fn a_persistent_server_keeps_what_it_answered() {
    let server = Server::options().persistent().unix_socket().start();
    for n in 0..3 {
        set(&server, &n.to_string(), "value");
        server.restart();
    }
    assert_eq!(server.command(&["DBSIZE"]).as_deref(), Ok("3"));
    assert!(server.url().starts_with("redis+unix:///"), "{}", server.url());
}

#[test]
fn a_stopped_server_answers_when_it_goes_on() {
    let server = Server::start();
    server.stop();
    let error = server.command_within(SHORT, &["PING"]).unwrap_err();
    assert!(error.contains("PING"), "{error}");
    assert!(server.is_running());
    server.cont();
    assert_eq!(server.command(&["PING"]).as_deref(), Ok("PONG"));
    server.stop();
    server.restart();
    assert_eq!(server.command(&["PING"]).as_deref(), Ok("PONG"));
}

#[test]
fn nothing_is_left_of_a_server() {
    let server = Server::start();
    let (port, dir) = (server.port(), server.dir());
    assert!(server.log().contains("Ready to accept connections"), "{}", server.log());
    server.stop();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!fs::exists(dir).unwrap());
}

#[test]
fn credentials() {
    let options = Server::options().password("p\"a s\\s");
    let server = options.clone().start();
    let port = server.port();
    assert_eq!(server.url(), format!("redis://:p%22a%20s%5Cs@127.0.0.1:{port}/"));
    assert_eq!(server.command(&["ACL", "WHOAMI"]).as_deref(), Ok("default"));
    let replica = Server::options().replica_of(&server).start();
    replica.wait_in_sync(&server);

    let server = options.user("app", "secret", "~app:* +get").start();
    let port = server.port();
    assert_eq!(server.url(), format!("redis://app:secret@127.0.0.1:{port}/"));
    let uses = |command: &str| {
        let mut client = Command::new("redis-cli");
        client.args(["-u", &server.url(), "--no-auth-warning"]).args(command.split(' '));
        String::from_utf8(client.output().unwrap().stdout).unwrap()
    };
    assert_eq!(uses("get app:key"), "\n");
    assert!(uses("get key").starts_with("NOPERM "), "{}", uses("get key"));
}

#[test]
fn tls() {
    for program in programs() {
        let server = Server::options().program(program).tls().password("secret").start();
        assert_eq!(server.url(), format!("rediss://:secret@127.0.0.1:{}/", server.port()));
        for host in ["localhost", "127.0.0.1"] {
            let mut client = Command::new("redis-cli");
            client.args(["--tls", "--cacert", server.ca_file().to_str().unwrap(), "-h", host]);
            client.args(["-p", &server.port().to_string(), "-a", "secret", "PING"]);
            assert_eq!(client.output().unwrap().stdout, b"PONG\n");
        }
        set(&server, "key", "value");
        assert_eq!(get(&server, "key"), "value");
        assert!(server.command(&["LPOP", "key"]).unwrap_err().contains("WRONGTYPE "));
        server.stop();
        assert!(server.command_within(SHORT, &["PING"]).is_err());
        server.restart();
        assert_eq!(server.info("tcp_port"), server.port().to_string());
    }
}

#[test]
fn a_replica_follows_and_is_promoted() {
    for program in programs() {
        let master = Server::options().program(program).start();
        set(&master, "before", "1");
        let replica = Server::options().program(program).replica_of(&master).start();
        replica.wait_in_sync(&master);
        set(&master, "after", "2");
        replica.wait_in_sync(&master);
        assert_eq!((get(&replica, "before"), get(&replica, "after")), ("1".into(), "2".into()));
        master.kill();
        replica.promote();
        assert_eq!(replica.info("role"), "master");
        set(&replica, "after", "3");
        master.restart();
        master.demote(&replica);
        master.wait_in_sync(&replica);
        assert_eq!(get(&master, "after"), "3");
    }
}

#[test]
fn slots_of_keys() {
    assert_eq!([slot_of("123456789"), slot_of("foo"), slot_of("")], [12_739, 12_182, 0]);
    assert_eq!(slot_of("a{foo}b{bar}"), slot_of("foo"));
    let server = Server::options().arg("--cluster-enabled", "yes").start();
    for key in ["{}x", "a{}{foo}", "{a", "}a{b}", "a{{b}}", "{b}", "ä"] {
        let slot = server.command(&["CLUSTER", "KEYSLOT", key]).unwrap();
        assert_eq!(Cluster::slot_of(key).to_string(), slot, "{key}");
    }
}

#[test]
fn a_slot_moves() {
    let cluster = Cluster::start_with(3, 0, |options| options.arg("--maxmemory", "64mb"));
    assert_eq!(cluster.urls().len(), 3);
    assert_eq!([0, 8_000, 16_383].map(|slot| cluster.owner_of(slot)), [0, 1, 2]);
    let slot = Cluster::slot_of("{foo}");
    for n in 0..250 {
        set(cluster.node(2), &format!("{{foo}}\n{n}"), "value");
    }
    cluster.begin_move(slot, 2, 0);
    let error = cluster.node(2).command(&["GET", "{foo}"]).unwrap_err();
    assert_eq!(error, format!("ASK {slot} 127.0.0.1:{}", cluster.node(0).port()));
    cluster.finish_move(slot, 2, 0);
    assert_eq!(cluster.owner_of(slot), 0);
    assert_eq!(get(cluster.node(0), "{foo}\n249"), "value");
    for node in &cluster.nodes()[1..] {
        let error = node.command(&["GET", "{foo}\n1"]).unwrap_err();
        assert_eq!(error, format!("MOVED {slot} 127.0.0.1:{}", cluster.node(0).port()));
    }
    cluster.move_slot(slot, 0, 1);
    let count = cluster.node(1).command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
    assert_eq!(count.as_deref(), Ok("250"));
}

#[test]
fn a_replica_of_a_cluster_takes_over() {
    let cluster = Cluster::start_with_replicas(3);
    let slot = slot_of("foo");
    let owner = cluster.owner_of(slot);
    set(cluster.node(owner), "foo", "value");
    cluster.node(owner + 3).wait_in_sync(cluster.node(owner));
    cluster.node(owner).kill();
    cluster.wait_for_failover(owner);
    assert_eq!(cluster.owner_of(slot), owner + 3);
    assert_eq!(get(cluster.node(owner + 3), "foo"), "value");
    cluster.node(owner).restart();
    cluster.wait_until_ok();
    assert_eq!(cluster.node(owner).info("role"), "slave");
}

#[test]
fn a_cluster_of_valkey() {
    if Server::is_installed(Program::Valkey) {
        let cluster = Cluster::start_with(3, 0, |options| options.program(Program::Valkey));
        set(cluster.node(0), "{b}", "value");
        cluster.move_slot(slot_of("{b}"), 0, 1);
        assert_eq!(get(cluster.node(1), "{b}"), "value");
    }
}

#[test]
fn sentinels_replace_a_master() {
    for program in programs() {
        let servers = Sentinel::start_with(|options| options.program(program));
        assert_eq!(servers.sentinel_urls().len(), 3);
        set(servers.master(), "key", "value");
        servers.replica().wait_in_sync(servers.master());
        let old = servers.master().port();
        servers.kill_master();
        let new = servers.wait_for_failover();
        assert_ne!(new.port(), old);
        assert_eq!((new.port(), new.info("role")), (servers.master().port(), "master".into()));
        assert_eq!(get(new, "key"), "value");
        servers.replica().restart();
        servers.replica().wait_in_sync(new);
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", servers.master_name()];
        let address = servers.sentinels()[0].command(&ask).unwrap();
        assert_eq!(address, format!("127.0.0.1\n{}", new.port()));
    }
}

/// A client of a proxy, which knows only PING.
struct Client(TcpStream);

impl Client {
    fn new(proxy: &Proxy) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    fn send(&mut self, command: &str) {
        self.0.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    }

    /// What comes within a time, at most this long.
    fn receive(&mut self, limit: Duration, len: usize) -> String {
        self.0.set_read_timeout(Some(limit)).unwrap();
        let mut text = vec![0; len];
        let len = self.0.read(&mut text).unwrap_or(0);
        String::from_utf8_lossy(&text[..len]).into_owned()
    }

    fn expect(&mut self, expected: &str) {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = vec![0; expected.len()];
        self.0.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    /// Whether the connection is closed, with nothing before.
    fn is_closed(&mut self) -> bool {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        self.0.read(&mut [0]).map_or_else(|error| !is_late(&error), |len| len == 0)
    }
}

fn is_late(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

#[test]
fn a_proxy_holds_what_it_is_told_to() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let mut client = Client::new(&proxy);
    client.send("PING");
    client.expect("+PONG\r\n");
    assert_eq!((proxy.request_bytes(), proxy.reply_bytes(), proxy.bytes()), (6, 7, 13));

    proxy.set(Mode::Silent);
    client.send("SET a 1");
    let mut late = Client::new(&proxy);
    late.send("ECHO late");
    assert_eq!(client.receive(SHORT, 1), "");
    assert_eq!((get(&server, "a"), proxy.bytes()), ("(nil)".into(), 13));

    proxy.set(Mode::SilentReplies);
    client.send("SET b 2");
    assert!(wait_at_most(PATIENCE, || get(&server, "b") == "2"));
    assert_eq!((client.receive(SHORT, 1), get(&server, "a")), (String::new(), "1".into()));

    proxy.set(Mode::Pass);
    client.send("PING");
    client.expect("+OK\r\n+OK\r\n+PONG\r\n");
    late.expect("$4\r\nlate\r\n");
    assert_eq!((proxy.connections(), proxy.open_connections()), (2, 2));
}

#[test]
fn a_proxy_cuts_and_refuses() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let mut client = Client::new(&proxy);
    client.send("PING");
    client.expect("+PONG\r\n");
    proxy.cut();
    assert!(client.is_closed());
    assert!(wait_at_most(PATIENCE, || proxy.open_connections() == 0));
    let mut client = Client::new(&proxy);
    client.send("PING");
    client.expect("+PONG\r\n");
    proxy.set(Mode::Refuse);
    assert!(client.is_closed());
    assert!(Client::new(&proxy).is_closed());
    assert_eq!(proxy.connections(), 2);

    proxy.set(Mode::Pass);
    let mut client = Client::new(&proxy);
    client.send("QUIT");
    client.expect("+OK\r\n");
    assert!(client.is_closed());
    server.kill();
    assert!(Client::new(&proxy).is_closed());
    let mut client = Client::new(&proxy);
    drop(proxy);
    assert!(client.is_closed());
}

#[test]
fn a_proxy_delays_without_a_queue() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    proxy.set(Mode::Delay(SHORT));
    let mut client = Client::new(&proxy);
    let start = Instant::now();
    for n in 0..1_000 {
        client.send(&format!("ECHO {n:03}"));
    }
    for n in 0..1_000 {
        client.expect(&format!("$3\r\n{n:03}\r\n"));
    }
    assert!(start.elapsed() >= SHORT * 2, "{:?}", start.elapsed());
    // One after another they would take a hundred seconds.
    assert!(start.elapsed() < SHORT * 400, "{:?}", start.elapsed());
    client.send("PING");
    proxy.set(Mode::Pass);
    client.expect("+PONG\r\n");
}
