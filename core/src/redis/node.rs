//! A connection to one server.

use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value, cmd};

use super::error::{LinkError, SetupError};
use super::identity::{Identity, data_of, field, text};
use super::wire::{self, number};
use crate::protocol::Command;

/// A connection to one server.
#[derive(Clone)]
pub(crate) struct Connection(MultiplexedConnection);

impl Connection {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Connection(connection)
    }

    /// Sends a pipeline. Errors of the server are among the replies.
    pub(crate) async fn send(
        &self,
        pipeline: &Pipeline,
        answers: usize,
    ) -> Result<Vec<Value>, LinkError> {
        let mut connection = self.0.clone();
        connection
            .send_packed_commands(pipeline, 0, answers)
            .await
            .map_err(|error| LinkError::new(error.to_string()))
    }

    /// Sends one command.
    pub(crate) async fn ask(&self, command: &redis::Cmd) -> Result<Value, LinkError> {
        let mut connection = self.0.clone();
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(LinkError::new(format!(
                "{} {}",
                error.code(),
                error.details().unwrap_or_default()
            ))),
            Ok(value) => Ok(value),
            Err(error) => Err(LinkError::new(error.to_string())),
        }
    }

    /// Switches tracking on, except for reads that say otherwise. NOLOOP is not used:
    /// it would suppress the pushes for keys that the server evicts or forgets because
    /// of this connection's own commands.
    pub(crate) async fn track(&self) -> Result<(), SetupError> {
        let tracking = cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTOUT").to_owned();
        match self.ask(&tracking).await {
            Ok(_) => Ok(()),
            Err(error) => Err(SetupError::unfit_server(format!(
                "the server refuses CLIENT TRACKING ({error}): it needs Redis 7, Valkey 8 or Dragonfly, and a user who may call it"
            ))),
        }
    }

    /// Reads the identity of the server.
    pub(crate) async fn identify(&self) -> Result<Identity, SetupError> {
        let refuses = |error: LinkError| {
            SetupError::unfit_server(format!(
                "the server refuses INFO ({error}): allow it to the user"
            ))
        };
        let text = text(self.ask(&cmd("INFO")).await.map_err(refuses)?);
        let commands = cmd("INFO").arg("commandstats").to_owned();
        let commands = self.ask(&commands).await.map(self::text).map_err(refuses)?;
        let field = |name: &str| field(&text, name);
        let version = field("redis_version").unwrap_or("0");
        let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let is_dragonfly = field("dragonfly_version").is_some();
        if major < 7 && !is_dragonfly {
            return Err(SetupError::unfit_server(format!(
                "the server is version {version}: it needs Redis 7, Valkey 8 or Dragonfly"
            )));
        }
        // Both change when a server takes over the data of another.
        let data = data_of(&text, &commands);
        let ids = [field("run_id"), field("master_replid")].map(Option::unwrap_or_default);
        if ids.iter().all(|id| id.is_empty()) {
            return Err(SetupError::unfit_server(
                "the server's INFO tells neither run_id nor master_replid: without one, a server that went back in time could not be told from one that did not",
            ));
        }
        Ok(Identity {
            id: format!("{}/{data}", ids[0]),
            data,
            is_master: matches!(field("role"), Some("master") | None),
            is_causal: !is_dragonfly,
        })
    }

    /// Sends a heartbeat. The reply comes behind the pushes of all earlier changes.
    /// `everything` is the key of a stamp to read with it.
    pub(crate) async fn heartbeat(
        &self,
        everything: Option<&[u8]>,
    ) -> Result<Heartbeat, LinkError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME").cmd("ROLE");
        pipeline.cmd("INFO").arg("replication").cmd("INFO").arg("commandstats");
        let everything = everything.map(|key| Command::Peek(key.into()));
        let asked = everything.as_slice();
        asked.iter().for_each(|command| wire::add(&mut pipeline, command, wire::write(command)));
        let sent = Instant::now();
        let mut values = self.send(&pipeline, 4 + wire::answers(asked)).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        let time = match next() {
            Value::Array(parts) => {
                parts.first().and_then(number).zip(parts.get(1).and_then(number))
            }
            _ => None,
        };
        let (seconds, micros) =
            time.ok_or_else(|| LinkError::new("the server does not tell the time"))?;
        if let Value::Array(role) = next()
            && let Some(Value::BulkString(role)) = role.first()
            && role != b"master"
        {
            return Err(LinkError::new("the server is no longer a master"));
        }
        let data = data_of(&text(next()), &text(next()));
        let found = wire::replies(asked, values.collect())?.into_iter().next();
        let everything = found.map(|reply| Peeked(reply.into_value()));
        Ok(Heartbeat { sent, time: seconds * 1_000_000 + micros, data, everything })
    }
}

/// What was read of a key that may not exist.
#[derive(Clone, Debug)]
pub(crate) struct Peeked(Option<Vec<u8>>);

impl Peeked {
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// The reply to a heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    /// When the heartbeat was sent.
    pub(crate) sent: Instant,
    /// The server's time, in microseconds since 1970.
    pub(crate) time: u64,
    /// The data that the server holds.
    pub(crate) data: String,
    /// The stamp of everything, if it was asked for.
    pub(crate) everything: Option<Peeked>,
}
