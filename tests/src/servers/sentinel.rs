//! A master and a replica under three sentinels.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Options, PATIENCE, Server, wait_at_most};

const NAME: &str = "cacheops";

/// A master, its replica, and three sentinels that replace the master within
/// seconds when it is gone for one.
#[derive(Debug)]
pub struct Sentinel {
    servers: [Server; 2],
    sentinels: Vec<Server>,
    /// Which of the servers is the master, as far as was waited for.
    master: AtomicUsize,
}

impl Sentinel {
    /// All of it, with Redis; returns when a failover would succeed.
    ///
    /// # Panics
    ///
    /// If it does not come to that.
    pub fn start() -> Sentinel {
        Sentinel::start_with(|options| options)
    }

    /// As [`Sentinel::start`]; `setup` has the last word on the settings of
    /// the master and the replica, but for TLS and passwords.
    ///
    /// # Panics
    ///
    /// If it does not come to that.
    pub fn start_with(setup: impl Fn(Options) -> Options) -> Sentinel {
        let master = setup(Server::options()).start();
        let replica = setup(Server::options().replica_of(&master)).start();
        replica.wait_in_sync(&master);
        let sentinels = (0..3).map(|_| sentinel(&master)).collect();
        let all = Sentinel { servers: [master, replica], sentinels, master: AtomicUsize::new(0) };
        all.wait_until("know each other", || all.sentinels.iter().all(knows_all));
        all
    }

    /// The name of the master that clients ask for.
    pub fn master_name(&self) -> &str {
        NAME
    }

    /// Where clients find the sentinels.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// The sentinels, to command, kill or stop.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The master: the first one, or the one that was waited for last.
    pub fn master(&self) -> &Server {
        &self.servers[self.master.load(Ordering::Acquire)]
    }

    /// The other server.
    pub fn replica(&self) -> &Server {
        &self.servers[1 - self.master.load(Ordering::Acquire)]
    }

    /// Has the sentinels look around as seldom as they do by default, so that a
    /// failover takes seconds in which they disagree. Hasty ones would take back
    /// a failover that is not for want of a master.
    ///
    /// # Panics
    ///
    /// If one does not take it.
    pub fn calm_down(&self) {
        let seldom = "INFO-PERIOD 10000 PUBLISH-PERIOD 2000 ASK-PERIOD 1000 PING-PERIOD 1000";
        let limits = ["failover-timeout 60000", "down-after-milliseconds 5000"];
        for sentinel in &self.sentinels {
            say(sentinel, &format!("SENTINEL DEBUG {seldom}"));
            limits.iter().for_each(|limit| say(sentinel, &format!("SENTINEL SET {NAME} {limit}")));
        }
    }

    /// Has a sentinel replace the master, which nothing is wrong with. It is
    /// under way when this returns.
    ///
    /// # Panics
    ///
    /// If the sentinel will not.
    pub fn begin_failover(&self, sentinel: usize) {
        say(&self.sentinels[sentinel], &format!("SENTINEL FAILOVER {NAME}"));
    }

    /// The same where the sentinel may not be ready for it; whether it was.
    pub fn try_failover(&self, sentinel: usize) -> bool {
        let said = self.sentinels[sentinel].command(&["SENTINEL", "FAILOVER", NAME]);
        said.is_ok_and(|said| said == "OK")
    }

    /// Has the master refuse what sentinels tell a deposed one, as if they did
    /// not reach it: it goes on as a master when they have named another.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn keep_master(&self) {
        say(self.master(), "ACL SETUSER default -slaveof -replicaof -client|kill");
    }

    /// Another sentinel, which knows nobody, and watches a master by the same
    /// name that is dead.
    pub fn astray() -> Server {
        let dead = Server::start();
        let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1", dead.port());
        dead.kill();
        Server::options().sentinel(&[monitor]).start()
    }

    /// A sentinel alone, which speaks TLS and watches a master that does not.
    pub fn over_tls(master: &Server) -> Server {
        let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1", master.port());
        let sentinel = Server::options().tls().sentinel(&[monitor]).start();
        let knows = || {
            let master = sentinel.command(&["SENTINEL", "MASTER", NAME]).unwrap_or_default();
            pair(&master, "flags") == Some("master")
        };
        assert!(wait_at_most(PATIENCE, knows), "{}", sentinel.log());
        sentinel
    }

    /// Whether a server calls itself a master, if it answers.
    pub fn is_master(server: &Server) -> bool {
        server.info_if_any("role").as_deref() == Some("master")
    }

    /// Ends what [`keep_master`](Self::keep_master) began.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn release(&self, server: &Server) {
        say(server, "ACL SETUSER default +slaveof +replicaof +client|kill");
    }

    /// Has the sentinels take back no failover that is planned; see
    /// [`calm_down`](Self::calm_down).
    ///
    /// # Panics
    ///
    /// If one does not take it.
    pub fn allow_failovers(&self) {
        let periods = "SENTINEL DEBUG PUBLISH-PERIOD 600";
        self.sentinels.iter().for_each(|sentinel| say(sentinel, periods));
    }

    /// Kills the master.
    pub fn kill_master(&self) {
        self.master().kill();
    }

    /// Waits until all sentinels that run name the other server and it is a
    /// master; it is the new master from then on. What was the master is
    /// [`Sentinel::replica`], and becomes one when it is back.
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`].
    pub fn wait_for_failover(&self) -> &Server {
        self.wait_for(|| {})
    }

    fn wait_for(&self, meanwhile: impl Fn()) -> &Server {
        let next = self.replica();
        self.wait_until("replace the master", || {
            meanwhile();
            self.have_named(next)
        });
        self.master.fetch_xor(1, Ordering::AcqRel);
        next
    }

    /// The same for a failover that a sentinel was asked for. Nothing is wrong
    /// with the master, so one that comes to nothing on a busy machine is not
    /// begun again unless it is asked for again.
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`].
    pub fn wait_for_planned_failover(&self, sentinel: usize) -> &Server {
        let (before, by) = (self.master().port(), &self.sentinels[sentinel]);
        self.wait_for(|| {
            if names(by, before) {
                self.try_failover(sentinel);
            }
        })
    }

    /// Waits until all sentinels that run name one server, and it is a master:
    /// that is [`Sentinel::master`] from then on. On a busy machine they may
    /// have taken the last one for dead, and replaced it unasked.
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`].
    pub fn settle(&self) {
        self.wait_until("agree on a master", || {
            let named = self.servers.iter().position(|server| self.have_named(server));
            named.into_iter().for_each(|named| self.master.store(named, Ordering::Release));
            named.is_some()
        });
    }

    /// Whether all sentinels that run name a server, and it is a master.
    fn have_named(&self, server: &Server) -> bool {
        let mut going = self.sentinels.iter().filter(|sentinel| sentinel.is_going());
        going.all(|sentinel| names(sentinel, server.port())) && Sentinel::is_master(server)
    }

    /// Whether all sentinels name the master, and carry out no failover.
    pub fn all_name_master(&self) -> bool {
        let port = self.master().port();
        let is_calm = |it: &Server| {
            let said = it.command(&["SENTINEL", "MASTER", NAME]).unwrap_or_default();
            !said.contains("failover_in_progress")
        };
        self.sentinels.iter().all(|sentinel| names(sentinel, port) && is_calm(sentinel))
    }

    fn wait_until(&self, what: &str, ready: impl FnMut() -> bool) {
        let logs = || self.sentinels.iter().map(Server::log).collect::<Vec<_>>().join("\n\n");
        assert!(wait_at_most(PATIENCE, ready), "the sentinels do not {what}:\n{}", logs());
    }
}

fn sentinel(master: &Server) -> Server {
    let settings = [
        format!("sentinel monitor {NAME} 127.0.0.1 {} 2", master.port()),
        format!("sentinel down-after-milliseconds {NAME} 1000"),
        format!("sentinel failover-timeout {NAME} 2000"),
    ];
    let options = Server::options().program(master.options_used().program);
    let sentinel = options.sentinel(&settings).start();
    // They look around often; a busy machine does not make them pause. A ping
    // is answered well before its server is taken for dead, and five periods
    // are more than the second between two looks at a replica in a failover.
    let often = "INFO-PERIOD 100 PUBLISH-PERIOD 100 ASK-PERIOD 100 PING-PERIOD 400";
    let calm = "TILT-TRIGGER 30000 TILT-PERIOD 100";
    say(&sentinel, &["SENTINEL DEBUG", often, calm].join(" "));
    sentinel
}

fn say(server: &Server, words: &str) {
    let command: Vec<&str> = words.split(' ').collect();
    let said = server.command(&command);
    assert!(said.is_ok(), "{words}: {said:?}");
}

/// Whether it knows the other sentinels and a replica that could follow.
fn knows_all(sentinel: &Server) -> bool {
    let master = sentinel.command(&["SENTINEL", "MASTER", NAME]).unwrap_or_default();
    let replicas = sentinel.command(&["SENTINEL", "REPLICAS", NAME]).unwrap_or_default();
    pair(&master, "flags") == Some("master")
        && pair(&master, "num-other-sentinels") == Some("2")
        && pair(&replicas, "flags") == Some("slave")
        && pair(&replicas, "master-link-status") == Some("ok")
}

/// Whether it names the server on this port.
fn names(sentinel: &Server, port: u16) -> bool {
    let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
    address.is_ok_and(|address| address == format!("127.0.0.1\n{port}"))
}

/// The line behind the one of a name.
fn pair<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.lines().skip_while(|line| *line != name).nth(1)
}
