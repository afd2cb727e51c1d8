//! A server that is there, and refuses to drop keys: it cannot save its data
//! (`MISCONF`), lacks replicas (`NOREPLICAS`), or the user lacks a right.
//!
//! Nothing that changes can be announced then, so nothing is asked of it either:
//! it would tell what is old. The connection stays, and the thread that keeps it
//! tries at once, and then from heartbeat to heartbeat, whether the server drops
//! keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::link::Link;
use super::state::{ConnectionState, SharedState};
use super::{LinkError, log};
use crate::protocol::{Command, Reply};
use crate::sync::{read, write};

impl SharedState {
    /// Takes in that an invalidation came to nothing: the line is given up, or
    /// nothing asked of it while the server refuses.
    pub(crate) fn undelivered(&self, session: u64, error: &LinkError) {
        if !error.refused {
            return self.disconnect(session, error);
        }
        let mut state = write(&self.connection);
        let ConnectionState::Live(link) = &*state else { return };
        if link.session != session {
            return;
        }
        let link = link.clone();
        self.trusted_until.store(0, Ordering::Release);
        *state = ConnectionState::Refusing(link, error.to_string());
        drop(state);
        self.near.all_changed();
        self.changed.notify_waiters();
        // At once: it may refuse this key alone, and all else is held up.
        self.wake_supervisor();
        log::refusing(&self.prefix, session, error);
    }

    /// Sends a heartbeat over the line of a session, or tries whether its
    /// servers drop keys again. An error if the line has ended.
    pub(super) async fn look_after(&self, link: &Arc<Link>) -> Result<(), LinkError> {
        let is_refusing = match &*read(&self.connection) {
            state if !state.is_of(link.session) => {
                return Err(LinkError::new("the line has ended"));
            }
            state => matches!(state, ConnectionState::Refusing(..)),
        };
        if !is_refusing {
            return self.heartbeat(link).await;
        }
        let check = self.begin_master_check();
        let tried = match self.ask_for_drops(link).await {
            Ok(()) => self.open(link, &check).await,
            Err(refused) => Err(refused),
        };
        match tried {
            Ok(delivered) => {
                log::willing(&self.prefix, link.session, delivered);
                Ok(())
            }
            Err(error) if !error.refused => {
                self.disconnect(link.session, &error);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Asks each server to drop a key that is not there.
    pub(super) async fn ask_for_drops(&self, link: &Link) -> Result<(), LinkError> {
        let keys = link.a_key_of_each(&format!("{}drops:", self.prefix));
        let commands: Vec<Command> =
            keys.into_iter().map(|key| Command::Unlink(vec![key])).collect();
        for reply in link.run(&commands).await? {
            if let Reply::Refused(answer) = reply {
                return Err(LinkError::refused(&answer));
            }
        }
        Ok(())
    }
}
