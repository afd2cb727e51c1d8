//! A state of the whole: store, processes and their threads.

use super::names::{Key, STAMPS, Tok};
use super::near::{Fragment, Near, Obj};
use super::server::{Cmd, Push, Rep, Server};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The version of the row in the database.
    pub(super) db: u8,
    /// The latest version whose invalidation has returned.
    pub(super) floor: u8,
    /// Which server the store is: another one after going back in time.
    pub(super) identity: u8,
    /// A state that it may go back to.
    pub(super) saved: Option<Server>,
    pub(super) left: Mishaps,
    pub(super) server: Server,
    pub(super) processes: Vec<Process>,
    pub(super) threads: Vec<Thread>,
}

/// How many mishaps of each kind are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mishaps {
    /// A key is lost.
    pub(super) losses: u8,
    /// How often the store may forget who has read what.
    pub(super) overflows: u8,
    /// All keys are lost.
    pub(super) flushes: u8,
    /// A connection breaks.
    pub(super) cuts: u8,
    /// A process gives a connection up that still works.
    pub(super) doubts: u8,
    /// The store goes back in time.
    pub(super) rollbacks: u8,
    /// A lookup is given up.
    pub(super) give_ups: u8,
    /// The bound passes without a heartbeat.
    pub(super) pauses: u8,
}

/// A fragment as it lies in the store.
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
    /// The session of the line, if it holds.
    pub(super) link: Option<u8>,
    pub(super) trusted: bool,
    /// Its line is given up, and what is in memory not yet.
    pub(super) has_to_distrust: bool,
    /// That of the line, and older ones that are still in use.
    pub(super) connections: Vec<Connection>,
    /// The registry as the last invalidation saw it.
    pub(super) registry: (Option<Tok>, u8),
    /// The latest version whose invalidation has returned in this process.
    pub(super) own_floor: u8,
    /// The one that others had announced when the last heartbeat was answered.
    pub(super) heard_floor: u8,
    /// The server that it was connected to.
    pub(super) identity: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Connection {
    pub(super) session: u8,
    /// What the server tells it of, as bits.
    pub(super) tracks: u8,
    /// What it has been told and has not heard yet.
    pub(super) queue: Vec<Push>,
}

/// One line of things done one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub(super) process: usize,
    /// How many of its rounds are over.
    pub(super) round: u8,
    pub(super) at: At,
    /// What may be served at least to the lookup under way.
    pub(super) floor: u8,
    /// The version that a broken protocol has opened.
    pub(super) opened: u8,
    /// The fill around the one under way.
    pub(super) outer: Option<Outer>,
    pub(super) last: Last,
}

/// How the last lookup of a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Last {
    Nothing,
    NearHit,
    SharedHit,
    /// What never may be.
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

/// Where a thread is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Idle,
    /// A fragment in memory has current stamps; whether they can be trusted is
    /// still to be seen.
    Checked(Fragment),
    /// It has a line, and has not used it.
    Linked(u8, Next),
    Sent(Pipe, Purpose),
    /// The data has been read.
    Made(Filling),
    /// A change is committed and cannot be announced for want of a line.
    Waiting(u8),
    Done,
}

/// What a thread wants a line for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Next {
    /// To ask whether what is in memory holds.
    Recheck(Fragment),
    /// To fetch a value ahead.
    Ahead,
    /// To read the value and to lease, given what does not hold any more.
    Anew(Option<Fragment>),
}

/// Commands on their way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pipe {
    pub(super) session: u8,
    pub(super) cmds: Vec<Cmd>,
    /// Which are carried out, as bits.
    pub(super) done: u16,
    pub(super) replies: Vec<Rep>,
    /// How many pushes come before the last reply.
    pub(super) after: u8,
}

/// What the replies are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Look(Look),
    /// Looking again at the stamps around a fill.
    Verify(Taking, Vec<Obj>),
    Store(Filling),
    Sweep(Sweeping),
    /// Dropping one key.
    Drop(Key, u8),
}

/// A lookup in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Look {
    pub(super) afresh: bool,
    pub(super) near: Option<Fragment>,
    /// The lease that goes with it.
    pub(super) taking: Option<Taking>,
    /// How many of the commands under way are of the lease.
    pub(super) leasing: u8,
    /// If it was given up, the threads that had sent something by then, as
    /// bits: what is sent later on the line is carried out later.
    pub(super) given_up: Option<u8>,
    pub(super) held: Vec<Held>,
    /// Which stamps the commands under way read.
    pub(super) asked: Vec<Obj>,
    pub(super) read: Vec<(Obj, Option<Tok>)>,
    /// The value that was read, once it was.
    pub(super) value: Option<Value>,
}

/// A stamp that a fragment was made under, and the one in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) made_under: Option<Tok>,
    pub(super) obj: Obj,
    pub(super) named: bool,
}

/// The taking of stamps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taking {
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

impl Look {
    /// Whether there are replies to a lease to be taken in.
    pub(super) fn is_leasing(&self) -> bool {
        self.leasing > 0 && self.given_up.is_none()
    }
}

impl Taking {
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
