//! Large values use a connection of their own. A server that refuses a value
//! (`proto-max-bulk-len`) closes the connection that it came by, with everything that
//! is in flight there, which must not be invalidations.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};
use tokio::runtime::Handle;

use super::endpoint::Endpoint;
use super::node::Connection;
use super::slots::read_redirection;
use crate::sync::lock;

/// The size from which a value is large. The limit of Redis can be set to a mebibyte,
/// and no lower.
pub(crate) const LARGE: usize = 256 << 10;

/// How long a size counts as refused. There may have been another reason.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The connection to one server for large values, opened with the first of them.
pub(crate) struct Bulk {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
    /// Lets one caller at a time connect.
    opening: tokio::sync::Mutex<()>,
    /// The smallest size that was refused, and until when the refusal counts.
    refused: Mutex<Option<(usize, Instant)>>,
}

impl Bulk {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Bulk {
            endpoint,
            connection: Mutex::new(None),
            opening: Default::default(),
            refused: Mutex::new(None),
        }
    }

    /// Sends one command with a value of this size, unless as large a value was refused
    /// a while ago.
    pub(crate) async fn send(
        self: &Arc<Self>,
        command: Pipeline,
        bytes: usize,
        limit: Duration,
        handle: &Handle,
    ) {
        if self.refuses(bytes) {
            return;
        }
        let bulk = self.clone();
        // On the runtime: connecting needs it, and must not end with the caller.
        let sending = handle.spawn(async move {
            match tokio::time::timeout(limit, bulk.try_send(&command)).await {
                Ok(Outcome::Refused) => bulk.note_refused(bytes),
                Ok(Outcome::Taken | Outcome::Unknown) => {}
                // A half-written value must not delay the next one.
                Err(_) => *lock(&bulk.connection) = None,
            }
        });
        // The task ends early only if the runtime ends.
        let _ = sending.await;
    }

    /// Sends by the open connection, or by a new one if that has ended. The server may
    /// have closed it because it was idle, or because of another value that was too
    /// large.
    async fn try_send(&self, command: &Pipeline) -> Outcome {
        if let Some(settled) = self.by_open(command).await {
            return settled;
        }
        let _turn = self.opening.lock().await;
        // Another caller may have opened one meanwhile.
        if let Some(settled) = self.by_open(command).await {
            return settled;
        }
        let Ok(new) = self.endpoint.open(|_| {}).await else { return Outcome::Unknown };
        // This is its first value, so the value is what ends it.
        let outcome = ask(&new, command).await;
        if outcome != Outcome::Refused {
            *lock(&self.connection) = Some(new);
        }
        outcome
    }

    /// Sends by the open connection. `None` if it has ended; it is forgotten then.
    async fn by_open(&self, command: &Pipeline) -> Option<Outcome> {
        let open = lock(&self.connection).clone()?;
        let outcome = ask(&open, command).await;
        if outcome == Outcome::Refused {
            *lock(&self.connection) = None;
            return None;
        }
        Some(outcome)
    }

    fn refuses(&self, bytes: usize) -> bool {
        let refused = *lock(&self.refused);
        refused.is_some_and(|(least, until)| bytes >= least && Instant::now() < until)
    }

    fn note_refused(&self, bytes: usize) {
        let now = Instant::now();
        let mut refused = lock(&self.refused);
        let least = refused.filter(|(_, until)| now < *until).map_or(bytes, |(least, _)| least);
        *refused = Some((least.min(bytes), now + REMEMBERED));
    }
}

/// The result of sending a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// The server closed the connection, or answered with an error.
    Refused,
    /// Nothing was learned about the size.
    Unknown,
}

async fn ask(connection: &Connection, command: &Pipeline) -> Outcome {
    let answers = connection.send(command, 1).await;
    match answers.as_deref().map(<[Value]>::first) {
        // The slot has moved. A lookup of the fragment is redirected too, and updates
        // the routes.
        Ok(Some(answer)) if read_redirection(answer).is_some() => Outcome::Unknown,
        Ok(Some(Value::ServerError(_))) | Err(_) => Outcome::Refused,
        Ok(_) => Outcome::Taken,
    }
}
