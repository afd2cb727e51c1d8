//! The lock on filling a fragment, which keeps several processes from filling it at
//! the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::SharedState;
use crate::protocol::{Command, Reply, Token};

/// The lock on filling a fragment, requested or held. Dropping it releases it.
pub(crate) struct FillLock {
    pub(super) key: Vec<u8>,
    /// Tells this lock from that of another process.
    token: Token,
    until: Instant,
    state: Arc<SharedState>,
    phase: LockPhase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LockPhase {
    /// Requested: this process may have it, or another one.
    Asked,
    HeldStamp,
    Done,
}

impl FillLock {
    pub(super) fn ask(state: &Arc<SharedState>, key: Vec<u8>) -> Option<Self> {
        let state = state.clone();
        let until = Instant::now() + state.options.lock_limit;
        let token = Token::random()?;
        Some(FillLock { key, token, until, state, phase: LockPhase::Asked })
    }

    /// The command that requests it.
    pub(super) fn command(&self) -> Command {
        let (key, token) = (self.key.as_slice().into(), self.token.as_bytes().to_vec());
        Command::SetNx(key, token, Some(self.state.options.lock_limit))
    }

    /// The lock, if the reply says that it was granted.
    pub(super) fn answered(mut self, reply: Option<&Reply>) -> Option<Self> {
        let got = reply == Some(&Reply::Done(true));
        self.phase = if got { LockPhase::HeldStamp } else { LockPhase::Done };
        got.then_some(self)
    }

    /// The command that releases the lock, unless it may have expired and gone to
    /// another process.
    pub(super) fn release(mut self) -> Option<Command> {
        let held = self.end() == LockPhase::HeldStamp;
        held.then(|| Command::Unlink(vec![self.key.clone()]))
    }

    /// The phase that it was in, if there is something to release. It is done from now
    /// on.
    fn end(&mut self) -> LockPhase {
        let phase = std::mem::replace(&mut self.phase, LockPhase::Done);
        let in_time = Instant::now() + Duration::from_millis(50) < self.until;
        if in_time { phase } else { LockPhase::Done }
    }
}

impl Drop for FillLock {
    /// A fill that came to nothing does not hold up other processes.
    fn drop(&mut self) {
        let phase = self.end();
        if phase == LockPhase::Done {
            return;
        }
        let Some(link) = self.state.link_now() else { return };
        let (state, key) = (self.state.clone(), std::mem::take(&mut self.key));
        let (token, releasing) = (self.token, state.begin_release());
        let runtime = self.state.runtime.clone();
        // If it fails, the lock expires.
        runtime.spawn(async move {
            let is_own = match phase {
                LockPhase::HeldStamp => true,
                _ => link.run(&[Command::Get(key.as_slice().into())]).await.is_ok_and(|replies| {
                    replies.first().and_then(Reply::value) == Some(token.as_bytes())
                }),
            };
            if is_own {
                let _ = link.run(&[Command::Unlink(vec![key.clone()])]).await;
                state.waiters.wake(&key);
            }
            drop(releasing);
        });
    }
}
