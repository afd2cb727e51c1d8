//! Users who lack rights: the error of `build` names them.

use cacheops::{Cacheops, ErrorKind, Redis};
use cacheops_tests::servers::{Cluster, Server, Trips};

use super::{LONG, read};

/// All rights that the handbook lists.
const COMMANDS: &str = "-@all +hello +info +time +role +client|tracking +client|caching +get +mget +set +unlink +pexpireat +hget +hgetall +hsetnx +zadd +zincrby +zmscore +zrange";

fn as_web(server: &Server) -> Redis {
    Redis::url(format!("redis://web:pw@127.0.0.1:{}", server.port())).operation_timeout(LONG)
}

fn build(redis: Redis) -> Result<Cacheops, cacheops::Error> {
    Cacheops::builder().prefix("shop:").redis(redis.connect_timeout(LONG)).build()
}

fn set_user(server: &Server, rules: &str) {
    let words: Vec<&str> = ["ACL", "SETUSER", "web"].into_iter().chain(rules.split(' ')).collect();
    server.command(&words).unwrap();
}

/// The error for a user with these rules. Following its advice suffices.
fn refused(server: &Server, rules: &str) -> String {
    set_user(server, &format!("reset on >pw {rules}"));
    let error = build(as_web(server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let text = error.to_string();
    let (_, advice) = text.split_once("`ACL SETUSER web ").unwrap_or_else(|| panic!("{text}"));
    set_user(server, advice.split('`').next().unwrap());
    let cache = build(as_web(server)).unwrap();
    let database = std::cell::Cell::new(1);
    read(&cache, 1, &database);
    cache.invalidate_all().unwrap();
    assert_eq!(server.command(&["KEYS", "*schemes:"]).unwrap(), "", "the check leaves nothing");
    text
}

#[test]
fn each_missing_command_right_is_named() {
    let server = Server::start();
    let of_tier = COMMANDS.split(' ').filter(|word| !["-@all", "+hello"].contains(word));
    for word in of_tier {
        let rules = format!("~shop:* {COMMANDS} -{}", &word[1..]);
        // A subcommand can only be removed together with its command.
        let rules = match word.split_once('|') {
            Some(_) => format!("~shop:* {}", COMMANDS.replace(&format!(" {word}"), "")),
            None => rules,
        };
        let text = refused(&server, &rules);
        assert!(text.contains(&format!("right at 127.0.0.1 to call {}: ", &word[1..])), "{text}");
    }
}

#[test]
fn all_missing_rights_are_named_at_once() {
    let server = Server::start();
    let text = refused(&server, "~shop:* -@all +hello +get +set");
    for name in ["client|tracking", "unlink", "zmscore", "hsetnx", "info"] {
        assert!(text.contains(&format!("+{name}")), "{name}: {text}");
    }
    assert!(!text.contains("+get") && !text.contains("keys"), "{text}");
}

#[test]
fn each_missing_key_right_is_named() {
    let server = Server::start();
    let all = ["frag:*", "lock:*", "conj:*", "name:*", "variant:*", "schemes:*"];
    let all = all.into_iter().chain(["all", "last", "drops:*"]).collect::<Vec<_>>();
    for lacking in &all {
        let keys = all.iter().filter(|keys| *keys != lacking);
        let keys = keys.map(|keys| format!("~shop:{keys}")).collect::<Vec<_>>().join(" ");
        let text = refused(&server, &format!("{keys} {COMMANDS}"));
        assert!(text.contains(&format!("to read and write shop:{lacking}: ")), "{text}");
        assert!(text.contains("~shop:*`"), "{text}");
    }
    let text = refused(&server, &format!("~web:* {COMMANDS}"));
    assert!(text.contains("shop:frag:*, shop:lock:*"), "{text}");
    let text = refused(&server, &format!("%R~shop:* {COMMANDS}"));
    assert!(text.contains("shop:frag:*"), "{text}");
}

/// Of computed prefixes only the fixed part is known.
#[test]
fn computed_prefixes_are_checked_up_to_their_fixed_part() {
    let server = Server::start();
    let build = || {
        let builder = Cacheops::builder().prefix("shop:").prefix_by(|_| "t1:".to_owned());
        builder.redis(as_web(&server).connect_timeout(LONG)).build()
    };
    set_user(&server, &format!("reset on >pw ~shop:all ~shop:last ~shop:t1:* {COMMANDS}"));
    let error = build().unwrap_err().to_string();
    assert!(error.contains("to read and write shop:drops:*: "), "{error}");
    set_user(&server, "~shop:drops:*");
    let cache = build().unwrap();
    let database = std::cell::Cell::new(1);
    assert_eq!(read(&cache, 1, &database), (1, true));
    assert_eq!(read(&cache, 1, &database), (1, false));
    cache.invalidate_model("rows").unwrap();
}

#[test]
fn each_node_of_a_cluster_is_checked() {
    let cluster = Cluster::start(2);
    let rules = format!("reset on >pw ~shop:* {COMMANDS} +cluster|slots +asking");
    cluster.nodes().iter().for_each(|node| set_user(node, &rules));
    let urls =
        || cluster.nodes().iter().map(|node| format!("redis://web:pw@127.0.0.1:{}", node.port()));
    let build = || build(Redis::cluster(urls()).operation_timeout(LONG));
    build().unwrap();
    set_user(cluster.node(1), "-zadd -asking");
    let text = build().unwrap_err().to_string();
    assert!(text.contains("to call zadd, asking: "), "{text}");
}

/// The check takes one round trip, and none if no user is named. It changes nothing in
/// the store.
#[test]
fn the_check_of_rights_costs_one_trip() {
    let server = Server::options().user("web", "pw", "~* &* +@all").start();
    let trips = |redis: Redis| {
        let mut trips = Trips::since_now(&server);
        let cache = build(redis).unwrap();
        let count = trips.count();
        drop(cache);
        count
    };
    trips(as_web(&server));
    let url = format!("redis://127.0.0.1:{}", server.port());
    let without = trips(Redis::url(url).operation_timeout(LONG));
    let dump = || server.command(&["DEBUG", "DIGEST"]).unwrap();
    let before = dump();
    // It contains TIME, and so counts as one heartbeat.
    assert_eq!(trips(as_web(&server)), without);
    assert_eq!(dump(), before);
}
