//! The thread that connects to the servers, watches the connection, and connects
//! again when it breaks.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::connection_state::SessionState;
use super::deliver::deliver;
use super::discover::Discovery;
use super::error::{LinkError, SetupError};
use super::link::{FINGERPRINT_LEN, Link};
use super::log;
use super::master_check::MasterCheck;
use super::push::push_handler;
use super::rights::Rights;
use super::stamps::read_everything;
use super::state::SharedState;
use crate::protocol::{Command, Reply};
use crate::sync::lock;
use crate::write::invalidation::Invalidation;
use crate::write::keys::everything_key;

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a connection is set up in a row while the server's identity changes.
const SETUP_ATTEMPTS: usize = 4;

/// Keeps the connection of one cache.
struct Supervisor {
    state: Arc<SharedState>,
    discovery: Discovery,
    /// The number of the last session.
    session: u64,
    /// The servers of the last session.
    fingerprint: Option<[u8; FINGERPRINT_LEN]>,
}

/// Runs the supervisor until the cache ends. `first` gets the result of the first
/// attempt to connect.
pub(super) async fn supervise(
    state: Arc<SharedState>,
    rights: Rights,
    first: impl FnOnce(Result<(), SetupError>),
) {
    let discovery = match Discovery::new(&state.options, rights, push_handler(&state)) {
        Ok(discovery) => discovery,
        Err(error) => return first(Err(error)),
    };
    let (watched, sentinels) = (discovery.watched_sentinels(), state.sentinels.clone());
    let asking = pin!(async {
        match sentinels.zip(watched) {
            Some((sentinels, watched)) => sentinels.serve(watched).await,
            None => std::future::pending().await,
        }
    });
    tokio::spawn(state.clone().deliver_abandoned());
    let mut supervisor = Supervisor { state, discovery, session: 0, fingerprint: None };
    let life = pin!(supervisor.run(first));
    // The sentinels are asked for as long as the supervisor runs.
    select(life, asking).await;
}

impl Supervisor {
    async fn run(&mut self, first: impl FnOnce(Result<(), SetupError>)) {
        let mut first = Some(first);
        let mut pause = SHORTEST_PAUSE;
        while !self.state.is_stopped() {
            match self.set_up().await {
                Ok(link) => {
                    pause = SHORTEST_PAUSE;
                    first.take().into_iter().for_each(|first| first(Ok(())));
                    self.watch(&link).await;
                }
                Err(error) => {
                    self.state.mark_down(self.session, error.text());
                    let queues = self.state.options.queue_limit.is_some();
                    if let Some(first) = first.take() {
                        if !(queues && error.is_unavailable()) {
                            return first(Err(error));
                        }
                        first(Ok(()));
                    }
                    self.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.state.finish().await;
    }

    /// Waits for this long, or until the supervisor is woken.
    async fn pause(&self, pause: Duration) {
        let wake_up = pin!(self.state.wake_up.notified());
        let slept = pin!(tokio::time::sleep(pause));
        let _ = select(wake_up, slept).await;
    }

    /// Sets a connection up, again if the server's identity changes meanwhile, as it
    /// does when its first replica comes.
    async fn set_up(&mut self) -> Result<Arc<Link>, SetupError> {
        for _ in 1..SETUP_ATTEMPTS {
            match self.try_set_up().await {
                Err(error) if error.is_transient() => {}
                done => return done,
            }
        }
        self.try_set_up().await
    }

    /// Connects, checks whether the store is the one that it was, delivers what is
    /// queued, and opens the connection to all callers.
    async fn try_set_up(&mut self) -> Result<Arc<Link>, SetupError> {
        self.session += 1;
        let link = {
            let sentinels = self.state.sentinels.as_deref();
            let connecting = pin!(self.discovery.link(self.session, sentinels));
            match self.unless_stopped(connecting).await {
                Some(link) => Arc::new(link?),
                None => return Err(SetupError::unavailable("the cache has ended")),
            }
        };
        // Nothing is read from a server or written to it before a majority has named
        // it as it is now.
        let check = self.state.begin_master_check();
        self.check_identity(&link).await?;
        ask_for_drops(&self.state, &link).await?;
        let delivered = open(&self.state, &link, &check).await?;
        log::connected(&self.state.prefix, link.session, link.nodes.len(), delivered);
        Ok(link)
    }

    async fn unless_stopped<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        let mut work = work;
        loop {
            let wake_up = pin!(self.state.wake_up.notified());
            match select(work, wake_up).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right((_, rest)) if !self.state.is_stopped() => work = rest,
                Either::Right(_) => return None,
            }
        }
    }

    /// Drops the stamp of everything, and with it all fragments, if the store may
    /// have gone back in time: its servers are not those that made the stamp, or
    /// not those of the last session, or all keys have gone since.
    async fn check_identity(&mut self, link: &Link) -> Result<(), SetupError> {
        let state = &self.state;
        let flushes = state.flushes.load(Ordering::SeqCst);
        let is_other = self.fingerprint.is_some_and(|known| known != link.fingerprint)
            || flushes != state.flushes_seen.load(Ordering::SeqCst);
        let key = everything_key(&state.prefix);
        let found = link.run(&[Command::Peek(key.as_slice().into())]).await?;
        let found = found.into_iter().next().and_then(|reply| reply.into_value());
        let is_known = found.is_none_or(|value| read_everything(&value, link).is_some());
        if (is_other || !is_known)
            && let Some(Reply::Refused(answer)) =
                link.run(&[Command::Unlink(vec![key])]).await?.first()
        {
            return Err(LinkError::refused(answer).into());
        }
        self.state.flushes_seen.store(flushes, Ordering::SeqCst);
        self.fingerprint = Some(link.fingerprint);
        Ok(())
    }

    /// Sends heartbeats until the connection ends.
    async fn watch(&self, link: &Arc<Link>) {
        let third = self.state.options.bound() / 3;
        let interval = third.clamp(Duration::from_millis(1), Duration::from_secs(1));
        loop {
            self.pause(interval).await;
            if self.state.is_stopped() || self.look_after(link).await.is_err() {
                return;
            }
        }
    }

    /// Sends a heartbeat over the connection of a session, or tests whether its
    /// servers drop keys again. An error if the session is over.
    async fn look_after(&self, link: &Arc<Link>) -> Result<(), LinkError> {
        let state = &self.state;
        match state.session_state(link.session) {
            SessionState::Ended => return Err(LinkError::new("the connection has ended")),
            SessionState::Live => return state.heartbeat(link).await,
            SessionState::Refusing => {}
        }
        let check = state.begin_master_check();
        let opened = match ask_for_drops(state, link).await {
            Ok(()) => open(state, link, &check).await,
            Err(refused) => Err(refused),
        };
        match opened {
            Ok(delivered) => {
                log::drops_again(&state.prefix, link.session, delivered);
                Ok(())
            }
            Err(error) if !error.is_refusal() => {
                state.disconnect(link.session, &error);
                Err(error)
            }
            Err(_) => Ok(()),
        }
    }
}

/// Asks each server to drop a key that does not exist. One may refuse to: it cannot
/// save its data (`MISCONF`), lacks replicas (`NOREPLICAS`), or the user lacks a
/// right. No invalidation could be delivered then, so nothing is read from it
/// either.
async fn ask_for_drops(state: &SharedState, link: &Link) -> Result<(), LinkError> {
    let keys = link.a_key_of_each(&format!("{}drops:", state.prefix));
    let commands: Vec<Command> = keys.into_iter().map(|key| Command::Unlink(vec![key])).collect();
    for reply in link.run(&commands).await? {
        if let Reply::Refused(answer) = reply {
            return Err(LinkError::refused(&answer));
        }
    }
    Ok(())
}

/// Delivers what is queued, and opens the connection to all callers. Returns how
/// many rows, tables and names were delivered.
async fn open(
    state: &SharedState,
    link: &Arc<Link>,
    check: &MasterCheck,
) -> Result<usize, LinkError> {
    let mut heartbeat = state.read_heartbeat(link).await?;
    heartbeat.sent = heartbeat.sent.min(check.since);
    state.confirm_master(link, check).await.map_err(LinkError::from)?;
    state.clock.set(&heartbeat);
    let mut delivered = deliver_pending(state, link).await?;
    while !state.go_live(link) {
        delivered += deliver_pending(state, link).await?;
    }
    state.renew_trust(link.session, &heartbeat);
    state.notify_changed();
    Ok(delivered)
}

/// Delivers what is queued. Returns how many rows, tables and names that was.
async fn deliver_pending(state: &SharedState, link: &Link) -> Result<usize, LinkError> {
    let mut waiting = lock(&state.pending).take();
    let count = waiting.iter().map(Invalidation::len).sum();
    while let Some(queued) = waiting.first_mut() {
        let delivered = deliver(state, link, queued).await;
        if let Err(error) = delivered {
            // The server drops other keys: a wider one is tried, so that this one
            // does not hold up all that wait behind it.
            let before = queued.len();
            if error.is_refusal() && queued.widen() {
                lock(&state.pending).delivered(before - queued.len());
                continue;
            }
            let mut pending = lock(&state.pending);
            match error.is_timeout() {
                true => pending.put_back_widened(waiting),
                false => pending.put_back(waiting),
            }
            return Err(error);
        }
        lock(&state.pending).delivered(queued.len());
        waiting.remove(0);
    }
    Ok(count)
}
