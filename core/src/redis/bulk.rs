//! Large values go by a connection of their own: a server that will not take
//! one (`proto-max-bulk-len`) closes the connection that it came by, with all
//! that is under way there. Invalidations must not be.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::Pipeline;
use tokio::runtime::Handle;

use super::door::Door;
use super::node::Connection;
use crate::sync::lock;

/// From how many bytes on a value is a large one. Redis can be told to take no
/// more than a mebibyte at once, and no less.
pub(crate) const LARGE: usize = 256 << 10;

/// How long a size counts as refused. It may have been another reason.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The connection to one server by which large values go, made when the first
/// one comes.
pub(crate) struct Bulk {
    door: Door,
    connection: Mutex<Option<Connection>>,
    /// The smallest size that was refused, and until when that counts.
    refused: Mutex<Option<(usize, Instant)>>,
}

impl Bulk {
    pub(crate) fn new(door: Door) -> Self {
        Bulk { door, connection: Mutex::new(None), refused: Mutex::new(None) }
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
            let sent = tokio::time::timeout(limit, bulk.try_send(&command)).await;
            if !matches!(sent, Ok(Some(()))) {
                bulk.note_refused(bytes);
            }
        });
        // It ends early only with the runtime.
        let _ = sending.await;
    }

    /// Nothing if the connection has not stood it.
    async fn try_send(&self, command: &Pipeline) -> Option<()> {
        let open = lock(&self.connection).clone();
        let connection = match open {
            Some(open) => open,
            None => {
                let new = self.door.open(|_| {}).await.ok()?;
                lock(&self.connection).insert(new).clone()
            }
        };
        // A server that answers at all has taken it in.
        connection.send(command, 1).await.ok().map(|_| ())
    }

    fn refuses(&self, bytes: usize) -> bool {
        let refused = *lock(&self.refused);
        refused.is_some_and(|(least, until)| bytes >= least && Instant::now() < until)
    }

    fn note_refused(&self, bytes: usize) {
        *lock(&self.connection) = None;
        let now = Instant::now();
        let mut refused = lock(&self.refused);
        let least = refused.filter(|(_, until)| now < *until).map_or(bytes, |(least, _)| least);
        *refused = Some((least.min(bytes), now + REMEMBERED));
    }
}
