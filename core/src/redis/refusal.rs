//! A server that is there, and refuses to drop keys: it cannot save its data
//! (`MISCONF`), lacks replicas (`NOREPLICAS`), or the user lacks a right.
//!
//! Nothing that changes can be announced then, so nothing is asked of it either:
//! it would tell what is old. The connection stays, and the thread that keeps it
//! tries at once, and then from heartbeat to heartbeat, whether the server drops
//! keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::keeper::{Keeper, State};
use super::link::Link;
use super::{Why, log};
use crate::protocol::{Command, Reply};
use crate::sync::{read, write};

impl Keeper {
    /// Takes in that an invalidation came to nothing: the line is given up, or
    /// nothing asked of it while the server refuses.
    pub(crate) fn undelivered(&self, session: u64, why: &Why) {
        if !why.refused {
            return self.lost(session, why);
        }
        let mut state = write(&self.state);
        let State::Live(link) = &*state else { return };
        if link.session != session {
            return;
        }
        let link = link.clone();
        self.trusted_until.store(0, Ordering::Release);
        *state = State::Refusing(link, why.to_string());
        drop(state);
        self.near.all_changed();
        self.changed.notify_waiters();
        // At once: it may refuse this key alone, and all else is held up.
        self.call_thread();
        log::refusing(&self.prefix, session, why);
    }

    /// Sends a heartbeat over the line of a session, or tries whether its
    /// servers drop keys again. An error if the line has ended.
    pub(super) async fn look_after(&self, link: &Arc<Link>) -> Result<(), Why> {
        let is_refusing = match &*read(&self.state) {
            state if !state.is_of(link.session) => return Err(Why::new("the line has ended")),
            state => matches!(state, State::Refusing(..)),
        };
        if !is_refusing {
            return self.beat(link).await;
        }
        let question = self.ask_for_master();
        let tried = match self.ask_for_drops(link).await {
            Ok(()) => self.open(link, &question).await,
            Err(refused) => Err(refused),
        };
        match tried {
            Ok(delivered) => {
                log::willing(&self.prefix, link.session, delivered);
                Ok(())
            }
            Err(why) if !why.refused => {
                self.lost(link.session, &why);
                Err(why)
            }
            _ => Ok(()),
        }
    }

    /// Asks each server to drop a key that is not there.
    pub(super) async fn ask_for_drops(&self, link: &Link) -> Result<(), Why> {
        let keys = link.a_key_of_each(&format!("{}drops:", self.prefix));
        let commands: Vec<Command> =
            keys.into_iter().map(|key| Command::Unlink(vec![key])).collect();
        for reply in link.run(&commands).await? {
            if let Reply::Refused(answer) = reply {
                return Err(Why::refused(&answer));
            }
        }
        Ok(())
    }
}
