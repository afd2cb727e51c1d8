//! Whether the user may do everything that the tier does. This is checked once for each
//! server before anything is written: a right that is missing later would fail every
//! invalidation.
//!
//! Each command is sent in a form that changes nothing. A server checks the rights
//! first, so any answer other than `NOPERM` means that the user has the right. Nothing
//! is checked if no user is named.

use redis::{Cmd, Pipeline, Value, cmd};

use super::error::SetupError;
use super::node::Connection;
use crate::prefix::Prefix;

/// What the tier needs, and for which keys.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    prefix: String,
    /// Whether the prefix goes on with a part that is computed for each request.
    is_computed: bool,
    /// Whether the servers are nodes of a cluster.
    is_cluster: bool,
}

/// A command and the key that it is sent for.
struct Probe {
    command: Cmd,
    /// The name, as `ACL SETUSER` accepts it.
    name: &'static str,
    /// The pattern behind the prefix; `None` for a command without a key.
    keys: Option<&'static str>,
}

impl Probe {
    fn plain(name: &'static str) -> Self {
        let mut words = name.split('|');
        let mut command = cmd(&words.next().unwrap_or_default().to_uppercase());
        words.for_each(|word| {
            command.arg(word.to_uppercase());
        });
        match name {
            "client|tracking" => command.arg("OFF"),
            "client|caching" => command.arg("NO"),
            // The section with the shortest reply.
            "info" => command.arg("cpu"),
            _ => &mut command,
        };
        Probe { command, name, keys: None }
    }
}

/// The commands of the connection itself.
const PLAIN: [&str; 5] = ["client|tracking", "client|caching", "info", "time", "role"];

/// The arguments behind the key with which a command changes nothing: the key does not
/// exist, or the arguments contradict each other.
fn idle(name: &str) -> &'static [&'static str] {
    match name {
        "get" | "mget" | "unlink" | "hgetall" => &[],
        "set" => &["", "XX", "NX"],
        "hget" => &["_"],
        "hsetnx" => &["_", ""],
        // A time in the past: this deletes what `hsetnx` has written.
        "pexpireat" => &["1"],
        "zadd" => &["XX", "1", ""],
        "zincrby" => &["none", ""],
        "zmscore" => &[""],
        _ => &["0", "1", "REV", "WITHSCORES"],
    }
}

/// The kinds of keys, with the commands for each. No key of the tier ends at the star
/// of a pattern.
const OF_CALLS: [(&str, &[&str]); 6] = [
    ("frag:*", &["get", "mget", "set"]),
    ("lock:*", &["get", "set", "unlink"]),
    ("conj:*", &["get", "mget", "set", "unlink"]),
    ("name:*", &["get", "mget", "set", "unlink"]),
    ("variant:*", &["get", "mget", "set", "unlink"]),
    ("schemes:*", &["hget", "hgetall", "hsetnx", "pexpireat", "unlink"]),
];

/// The keys that a cache has once, whatever prefixes are computed. Nothing deletes the
/// first two.
const OF_ALL: [(&str, &[&str]); 3] = [
    ("all", &["get", "set"]),
    ("last", &["zadd", "zincrby", "zmscore", "zrange"]),
    ("drops:*", &["unlink"]),
];

/// The missing rights.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    commands: Vec<&'static str>,
    keys: Vec<&'static str>,
}

impl Rights {
    pub(super) fn new(prefix: &Prefix) -> Self {
        let (fixed, is_computed) = (prefix.fixed().to_owned(), prefix.is_computed());
        Rights { prefix: fixed, is_computed, is_cluster: false }
    }

    /// The rights that nodes of a cluster need.
    pub(super) fn in_cluster(self) -> Self {
        Rights { is_cluster: true, ..self }
    }

    /// Checks a server, in one round trip. The error names what is missing.
    pub(super) async fn check(
        &self,
        connection: &Connection,
        host: &str,
        user: Option<&str>,
    ) -> Result<(), SetupError> {
        let mut probes = self.probes();
        // The last one, since it affects the command behind it.
        probes.extend(self.is_cluster.then(|| Probe::plain("asking")));
        let mut pipeline = Pipeline::with_capacity(probes.len());
        probes.iter().for_each(|probe| {
            pipeline.add_command(probe.command.clone());
        });
        let answers = connection.send(&pipeline, probes.len()).await;
        let answers = answers.map_err(|error| SetupError::unavailable(error.to_string()))?;
        let missing = Missing::by(&probes, &answers);
        match missing == Missing::default() {
            true => Ok(()),
            false => Err(SetupError::invalid_config(self.explain(&missing, host, user))),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        let of_calls = match self.is_computed {
            // The computed part of the prefix is not known yet.
            true => &[],
            false => OF_CALLS.as_slice(),
        };
        let of_keys = of_calls.iter().chain(&OF_ALL).flat_map(|(keys, names)| {
            names.iter().map(|name| {
                let key = format!("{}{}", self.prefix, keys.trim_end_matches('*'));
                let mut command = cmd(&name.to_uppercase());
                command.arg(key).arg(idle(name));
                Probe { command, name, keys: Some(keys) }
            })
        });
        PLAIN.into_iter().map(Probe::plain).chain(of_keys).collect()
    }

    fn explain(&self, missing: &Missing, host: &str, user: Option<&str>) -> String {
        let mut parts = Vec::new();
        let mut words = Vec::new();
        if !missing.commands.is_empty() {
            parts.push(format!("to call {}", missing.commands.join(", ")));
            words.extend(missing.commands.iter().map(|name| format!("+{name}")));
        }
        let prefix = literally(&self.prefix);
        if !missing.keys.is_empty() {
            let keys = missing.keys.iter().map(|keys| format!("{prefix}{keys}"));
            parts.push(format!("to read and write {}", keys.collect::<Vec<_>>().join(", ")));
            words.push(format!("~{prefix}*"));
        }
        let (parts, words) = (parts.join(", nor "), words.join(" "));
        let user = user.unwrap_or("<user>");
        format!(
            "the user has no right at {host} {parts}: `ACL SETUSER {user} {words}` gives what is missing"
        )
    }
}

impl Missing {
    fn by(probes: &[Probe], answers: &[Value]) -> Self {
        let mut missing = Missing::default();
        for (probe, answer) in probes.iter().zip(answers) {
            let Value::ServerError(error) = answer else { continue };
            if error.code() != "NOPERM" {
                continue;
            }
            match probe.keys {
                Some(keys) if is_about_keys(error.details().unwrap_or_default()) => {
                    note(&mut missing.keys, keys);
                }
                _ => note(&mut missing.commands, probe.name),
            }
        }
        missing
    }
}

fn note(all: &mut Vec<&'static str>, one: &'static str) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// Servers use one error code for commands and keys, and each version its own words.
fn is_about_keys(details: &str) -> bool {
    details.contains("key") && !details.contains("command")
}

/// Escapes a prefix, so that as a pattern it matches itself only.
fn literally(prefix: &str) -> String {
    prefix.chars().fold(String::new(), |mut text, c| {
        if "*?[]\\".contains(c) {
            text.push('\\');
        }
        text.push(c);
        text
    })
}
