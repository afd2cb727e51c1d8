//! Large values go by a connection of their own: a server that will not take
//! one (`proto-max-bulk-len`) closes the connection that it came by, with all
//! that is under way there. Invalidations must not be.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};
use tokio::runtime::Handle;

use super::endpoint::Endpoint;
use super::node::Connection;
use super::slots::read_redirection;
use crate::sync::lock;

/// From how many bytes on a value is a large one. Redis can be told to take no
/// more than a mebibyte at once, and no less.
pub(crate) const LARGE: usize = 256 << 10;

/// How long a size counts as refused. It may have been another reason.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The connection to one server by which large values go, made when the first
/// one comes.
pub(crate) struct Bulk {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
    /// Who connects, one at a time.
    opening: tokio::sync::Mutex<()>,
    /// The smallest size that was refused, and until when that counts.
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

    /// Sends one command with a value of so many bytes, unless as many were
    /// refused a while ago.
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
        // There, since connecting needs the runtime, and is not to end with the
        // caller.
        let sending = handle.spawn(async move {
            match tokio::time::timeout(limit, bulk.try_send(&command)).await {
                Ok(Outcome::Refused) => bulk.note_refused(bytes),
                Ok(Outcome::Taken | Outcome::Unknown) => {}
                // What is half written may not hold up the next.
                Err(_) => *lock(&bulk.connection) = None,
            }
        });
        // It ends early only with the runtime.
        let _ = sending.await;
    }

    /// By the connection that there is; by a new one, if that has ended, which
    /// also happens to one that was idle for long, or by which another value
    /// went that is too large.
    async fn try_send(&self, command: &Pipeline) -> Outcome {
        if let Some(settled) = self.by_open(command).await {
            return settled;
        }
        let _turn = self.opening.lock().await;
        // Another may have made one meanwhile.
        if let Some(settled) = self.by_open(command).await {
            return settled;
        }
        let Ok(new) = self.endpoint.open(|_| {}).await else { return Outcome::Unknown };
        // Nothing else goes by it yet, so whatever ends it is this value.
        let outcome = ask(&new, command).await;
        if outcome != Outcome::Refused {
            *lock(&self.connection) = Some(new);
        }
        outcome
    }

    /// What came of it by the connection that there is; `None`, and no
    /// connection, if that has not stood it.
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

/// What came of sending a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// The server has closed the connection, or answered an error.
    Refused,
    /// Nothing that tells of the size.
    Unknown,
}

async fn ask(connection: &Connection, command: &Pipeline) -> Outcome {
    let answers = connection.send(command, 1).await;
    match answers.as_deref().map(<[Value]>::first) {
        // The fragment's slot is elsewhere. Whoever reads it is told so too, and
        // learns where.
        Ok(Some(answer)) if read_redirection(answer).is_some() => Outcome::Unknown,
        Ok(Some(Value::ServerError(_))) | Err(_) => Outcome::Refused,
        Ok(_) => Outcome::Taken,
    }
}
