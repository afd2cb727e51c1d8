//! A state of the whole.

use std::sync::{Arc, LazyLock};

use crate::protocol::{Decision, Master, Quorum, View};

pub(super) const SENTINELS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The version of the row in the database.
    pub(super) db: u8,
    /// The latest version whose announcement has returned.
    pub(super) floor: u8,
    /// The epoch that each sentinel knows.
    pub(super) views: [u8; SENTINELS],
    /// Which server is the master by each epoch.
    pub(super) of_epoch: Vec<usize>,
    /// A server that has been promoted, by the sentinel that is to adopt it.
    pub(super) promoting: Option<usize>,
    pub(super) servers: [Server; 2],
    /// The last token, and the last identity of a server.
    pub(super) tokens: u8,
    pub(super) identities: u8,
    /// How many queries may still be given up.
    pub(super) silences: u8,
    pub(super) processes: Vec<Process>,
    /// An announcement has returned at another master than the first.
    pub(super) has_moved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) is_master: bool,
    /// Another one each time that it becomes master.
    pub(super) identity: u8,
    pub(super) data: Data,
}

/// The data of a server, which a replica copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Data {
    /// The fingerprint in the stamp of everything: the server and the epoch
    /// at which it was created.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) stamp: Option<u8>,
    pub(super) value: Option<Fragment>,
}

/// The identity of a server, and the epoch under which it is the master.
pub(super) type Fingerprint = (u8, u8);

/// A fragment: the version of its data, and the stamp it was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fragment {
    pub(super) version: u8,
    pub(super) token: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) joining: Joining,
    pub(super) link: Option<Link>,
    pub(super) at: At,
    /// Lookups or changes that are still to come.
    pub(super) left: u8,
    /// What had been announced when the current lookup began.
    pub(super) floor: u8,
    pub(super) near: Option<Fragment>,
    /// Whether memory is trusted, up to what had been announced then.
    pub(super) pushed_floor: Option<u8>,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) server: usize,
    pub(super) epoch: u8,
    /// Who the server was when it was connected to.
    pub(super) identity: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Joining {
    Not,
    Asking(SentinelQuery),
    /// A majority has named this epoch's.
    Named(u8),
    Confirming(Link, SentinelQuery),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Idle,
    Looking {
        query: Option<SentinelQuery>,
        found: Option<Option<Fragment>>,
    },
    Leased(u8),
    Made(Fragment),
    Announcing {
        query: SentinelQuery,
        is_dropped: bool,
    },
    /// A change is committed and not announced.
    Waiting,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heartbeat {
    pub(super) query: SentinelQuery,
    /// What was announced when it began.
    pub(super) floor: u8,
    pub(super) is_answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Last {
    NoAnswer,
    Hit,
    Stale { served: u8, floor: u8 },
}

/// A query to the sentinels in progress, and the epochs that they have reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SentinelQuery {
    pub(super) answers: [Option<u8>; SENTINELS],
    /// It was given up.
    pub(super) is_over: bool,
}

/// Epochs that there are at most, and one place for a sentinel that has not
/// answered.
const ANSWERS: usize = 4;

/// What the shipped code decides by all answers that there can be.
static DECISIONS: LazyLock<Vec<Option<Option<u8>>>> = LazyLock::new(|| {
    let answer = |n: usize, sentinel: u32| (n / ANSWERS.pow(sentinel) % ANSWERS).checked_sub(1);
    (0..ANSWERS.pow(3)).map(|n| decide([0, 1, 2].map(|sentinel| answer(n, sentinel)))).collect()
});

fn decide(answers: [Option<usize>; SENTINELS]) -> Option<Option<u8>> {
    let mut quorum = Quorum::new(SENTINELS);
    let ticket = quorum.ticket();
    for (sentinel, answers) in answers.into_iter().enumerate() {
        let asked = quorum.ask(sentinel);
        if let Some((epoch, asked)) = answers.zip(asked) {
            // Servers take turns.
            let (port, epoch) = (epoch as u16 % 2, epoch as u64);
            let master = Arc::new(Master { host: String::new(), port, epoch });
            let view = View { sentinel: sentinel.to_string(), master, others: SENTINELS - 1 };
            quorum.answered(sentinel, asked, Ok(view));
        }
    }
    Some(match quorum.decision(ticket)? {
        Decision::Named(master) => Some(master.epoch as u8),
        Decision::NoMajority(_) => None,
    })
}

impl SentinelQuery {
    /// The epoch that a majority has named, or that none has.
    pub(super) fn decision(&self) -> Option<Option<u8>> {
        if self.is_over {
            return Some(None);
        }
        let place = |answers: &Option<u8>| answers.map_or(0, |epoch| usize::from(epoch) + 1);
        let n = self.answers.iter().rev().fold(0, |n, answers| n * ANSWERS + place(answers));
        DECISIONS[n]
    }
}

impl Link {
    pub(super) fn fingerprint(self) -> Fingerprint {
        (self.identity, self.epoch)
    }
}

impl State {
    pub(super) fn server(&mut self, link: Link) -> &mut Server {
        &mut self.servers[link.server]
    }

    /// Sentinels are interchangeable: all their orders are one state.
    pub(super) fn normalize(&mut self) {
        let mut order = [0, 1, 2];
        order.sort_by_key(|n| {
            let queries = self.processes.iter().flat_map(Process::queries);
            let answers: Vec<Option<u8>> = queries.map(|query| query.answers[*n]).collect();
            (self.views[*n], self.promoting == Some(*n), answers)
        });
        if order == [0, 1, 2] {
            return;
        }
        self.views = order.map(|n| self.views[n]);
        self.promoting = self.promoting.and_then(|n| order.iter().position(|it| *it == n));
        for query in self.processes.iter_mut().flat_map(Process::queries_mut) {
            query.answers = order.map(|n| query.answers[n]);
        }
    }
}
