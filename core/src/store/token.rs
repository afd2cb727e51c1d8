//! The data of a stamp about a shared store.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Stamp;
use crate::protocol::{Key, Token, stands_for};
use crate::sync::Arc;

/// The key of a stamp in the shared store, and the token that was found there.
///
/// The object is in its place before the token is requested. Whoever learns that
/// the key has changed drops the object. So a reply that is read after such a
/// push fills in an object that is already dropped.
#[derive(Debug)]
pub(crate) struct SharedStamp {
    store: StoreId,
    key: Key,
    kind: StampKind,
    /// The session in which it was made, for the stamp of everything. Tokens
    /// that were read in another session say nothing about it.
    session: u64,
    token: OnceLock<Token>,
    /// Whether its scheme is known to be registered in the epoch above it.
    registered: AtomicBool,
}

/// Which of the stores in this process that stand before a shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(u64);

impl StoreId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        StoreId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The stores of a list of stamps that grows: it looks at each of them once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores {
    /// `None` is a store in memory, or a stamp without a store.
    known: Vec<Option<StoreId>>,
    /// How many of the stamps it has looked at.
    seen: usize,
}

impl Stores {
    /// The stores of `stamps`; maybe also some of stamps that have left the list.
    pub(crate) fn of(&mut self, stamps: &[Arc<Stamp>]) -> &[Option<StoreId>] {
        for stamp in stamps.iter().skip(self.seen) {
            let store = stamp.store();
            if !self.known.contains(&store) {
                self.known.push(store);
            }
        }
        self.seen = stamps.len();
        &self.known
    }

    /// The list has another order now.
    pub(crate) fn look_again(&mut self) {
        self.seen = 0;
    }
}

/// How a stamp is stored in the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StampKind {
    /// The key that everything depends on.
    Everything,
    /// The epoch of the registry under the key.
    Epoch,
    /// A key of its own.
    Plain,
}

impl SharedStamp {
    pub(crate) fn new(store: StoreId, key: &[u8], kind: StampKind, session: u64) -> Self {
        let (token, registered) = (OnceLock::new(), AtomicBool::new(false));
        SharedStamp { store, key: key.into(), kind, session, token, registered }
    }

    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn kind(&self) -> StampKind {
        self.kind
    }

    /// Records that its scheme has been registered in the epoch above it, by
    /// the same lease that read both tokens.
    pub(crate) fn note_registered(&self) {
        self.registered.store(true, Ordering::Release);
    }

    /// Whether [`note_registered`](Self::note_registered) was called.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }

    /// The token, if it has been read.
    pub(crate) fn token(&self) -> Option<Token> {
        self.token.get().copied()
    }

    /// Stores the token that was read. False if a different token was read
    /// before, or if there was none: the object no longer represents the
    /// stamp in the store.
    pub(crate) fn settle(&self, found: Option<Token>) -> bool {
        let known = found.map(|found| *self.token.get_or_init(|| found));
        stands_for(known, found)
    }
}
