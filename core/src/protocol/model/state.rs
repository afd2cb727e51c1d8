//! A state of the whole: store, processes and their threads.

use super::names::{Key, STAMPS, Tok};
use super::near::{Fragment, Near, Obj};
use super::server::{Cmd, Push, Rep, Server};
use crate::protocol::MemoryTrust;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The version of the row in the database.
    pub(super) db: u8,
    /// The latest version whose invalidation has returned.
    pub(super) floor: u8,
    /// The server of the store; a different one after going back in time.
    pub(super) identity: u8,
    /// A state that the store may go back to.
    pub(super) saved: Option<Server>,
    pub(super) left: Faults,
    pub(super) server: Server,
    pub(super) processes: Vec<Process>,
    pub(super) threads: Vec<Thread>,
}

/// How many faults of each kind may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// A key is lost.
    pub(super) losses: u8,
    /// How often the store may drop an entry of its tracking table.
    pub(super) overflows: u8,
    /// All keys are lost.
    pub(super) flushes: u8,
    /// A connection breaks.
    pub(super) cuts: u8,
    /// A process gives up a connection that works.
    pub(super) given_up_links: u8,
    /// The store goes back in time.
    pub(super) rollbacks: u8,
    /// A lookup is given up.
    pub(super) give_ups: u8,
    /// The bound passes without a heartbeat.
    pub(super) pauses: u8,
}

/// A fragment in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    /// The version of the data that it was made from.
    pub(super) version: u8,
    pub(super) all: Tok,
    pub(super) epoch: Tok,
    pub(super) stamps: [Option<Tok>; STAMPS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) near: Near,
    /// The session of the connection, if there is one.
    pub(super) link: Option<u8>,
    pub(super) trusted: bool,
    /// Its connection is given up, and memory is still trusted.
    pub(super) has_to_unverify: bool,
    /// The current connection, and older ones that are still in use.
    pub(super) connections: Vec<Connection>,
    /// The registry as the last invalidation saw it.
    pub(super) registry: (Option<Tok>, u8),
    /// The latest version whose invalidation has returned in this process.
    pub(super) own_floor: u8,
    /// The one that others had announced when the last heartbeat was answered.
    pub(super) pushed_floor: u8,
    /// The server that it was connected to.
    pub(super) identity: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Connection {
    pub(super) session: u8,
    /// The keys that the server tracks for it, as bits.
    pub(super) tracks: u8,
    /// The pushes that it has not received yet.
    pub(super) queue: Vec<Push>,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub(super) process: usize,
    /// How many of its rounds are over.
    pub(super) round: u8,
    pub(super) at: At,
    /// The oldest version that the current lookup may serve.
    pub(super) floor: u8,
    /// The version that a broken protocol has opened.
    pub(super) opened: u8,
    /// The fill around the current one.
    pub(super) outer: Option<Outer>,
    pub(super) last: Last,
}

/// How the last lookup of a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Last {
    Nothing,
    NearHit,
    SharedHit,
    /// What must never happen.
    Stale {
        served: u8,
        floor: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outer {
    pub(super) stamps: Vec<Obj>,
    pub(super) version: u8,
    pub(super) uncacheable: bool,
}

/// The position of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Idle,
    /// A fragment in memory has current stamps; whether they can be trusted is
    /// still to be seen.
    Checked(Fragment),
    /// It has a connection, and has not used it.
    Linked(u8, Next),
    Sent(Pipe, Purpose),
    /// The data has been read.
    Made(Filling),
    /// A change is committed, and cannot be announced because there is no
    /// connection.
    Waiting(u8),
    Done,
}

/// What a thread needs a connection for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Next {
    /// To revalidate a fragment in memory.
    Revalidate(Fragment),
    /// To prefetch a value.
    Prefetch,
    /// To read the value and to lease, given what does not hold any more.
    Lease(Option<Fragment>),
}

/// Commands in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pipe {
    pub(super) session: u8,
    pub(super) cmds: Vec<Cmd>,
    /// Which are executed, as bits.
    pub(super) done: u16,
    pub(super) replies: Vec<Rep>,
    /// How many pushes come before the last reply.
    pub(super) after: u8,
}

/// What the replies are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Lookup(Lookup),
    /// Looking again at the stamps around a fill.
    Verify(Lease, Vec<Obj>),
    Store(Filling),
    Sweep(Sweeping),
    /// Dropping one key.
    Drop(Key, u8),
}

/// A lookup in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lookup {
    pub(super) memory: MemoryTrust,
    pub(super) near: Option<Fragment>,
    /// The lease that goes with it.
    pub(super) lease: Option<Lease>,
    /// How many of the commands under way are of the lease.
    pub(super) leasing: u8,
    /// If it was given up, the threads that had sent something by then, as
    /// bits: what is sent later on the line is carried out later.
    pub(super) given_up: Option<u8>,
    pub(super) held: Vec<HeldStamp>,
    /// Which stamps the commands under way read.
    pub(super) asked: Vec<Obj>,
    pub(super) read: Vec<(Obj, Option<Tok>)>,
    /// The value that was read, once it was.
    pub(super) value: Option<Value>,
}

/// A stamp that a fragment was made under, and the one in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeldStamp {
    pub(super) made_under: Option<Tok>,
    pub(super) obj: Obj,
    pub(super) named: bool,
}

/// The taking of stamps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) stamps: Vec<Obj>,
    /// The epoch to begin and the schemes to register, and whose epoch it is.
    pub(super) table: Option<(Tok, u8, Obj)>,
    /// The plain keys with their new tokens, and whose they are.
    pub(super) plain: Vec<(Key, Tok, Obj)>,
    /// Whether all its schemes were registered.
    pub(super) is_registered: bool,
    /// Data that a broken protocol has read already.
    pub(super) early: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filling {
    pub(super) stamps: Vec<Obj>,
    pub(super) version: u8,
    pub(super) uncacheable: bool,
}

/// A sweep, as all that it has been told so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sweeping {
    pub(super) version: u8,
    pub(super) known: (Option<Tok>, u8),
    pub(super) replies: Vec<Vec<Rep>>,
}

impl Lookup {
    /// Whether there are replies to a lease to be taken in.
    pub(super) fn is_leasing(&self) -> bool {
        self.leasing > 0 && self.given_up.is_none()
    }
}

impl Lease {
    /// The objects that its commands read.
    pub(super) fn new_objects(&self) -> impl Iterator<Item = Obj> {
        let epoch = self.table.iter().map(|(.., epoch)| *epoch);
        epoch.chain(self.plain.iter().map(|(.., plain)| *plain))
    }
}

impl Pipe {
    pub(super) fn new(session: u8, cmds: Vec<Cmd>) -> Self {
        let replies = vec![Rep::None; cmds.len()];
        Pipe { session, cmds, done: 0, replies, after: 0 }
    }

    /// Which commands are still to be carried out.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.cmds.len()).filter(|n| self.done & (1 << n) == 0)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.done.count_ones() as usize == self.cmds.len()
    }
}
