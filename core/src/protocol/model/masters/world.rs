//! Who takes part, and the steps.

use stateright::{Model, Property};

use super::Broken;
use super::state::{At, Data, Fragment, Joining, Last, Link, Process, SENTINELS, Server, State};

/// What is searched. Each process has one thread.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) roles: Vec<Role>,
    /// How often each looks up, or announces.
    pub(super) rounds: Vec<u8>,
    pub(super) failovers: u8,
    pub(super) silences: u8,
    /// Whether the first failover is over when the search begins; the first
    /// master has not been told, nor has the first process, which is there.
    pub(super) is_deposed: bool,
    pub(super) broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Strict,
    Bounded,
    /// Fills without a look, then looks strictly.
    Filler,
    Writer,
}

/// Which query of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Main,
    Heartbeat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A process goes on by itself.
    Step(usize),
    /// Its commands are carried out.
    Trip(usize),
    /// A sentinel answers it.
    Vote(usize, Slot, usize),
    GiveUp(usize, Slot),
    Heartbeat(usize),
    HeartbeatAnswered(usize),
    Vouch(usize),
    /// A sentinel promotes another server; and learns that it is a master.
    Promote(usize),
    Adopt,
    /// A sentinel hears of the highest epoch.
    Learn(usize),
    /// A server is told that it is a replica.
    Demote(usize),
    /// A replica takes what its master has.
    Copy(usize),
}

pub(super) const NEVER_STALE: &str = "never stale";
pub(super) const HIT: &str = "a hit";
pub(super) const MOVED: &str = "an announcement at another master";

impl World {
    pub(super) fn new(processes: &[(Role, u8)], failovers: u8) -> Self {
        let (roles, rounds) = processes.iter().copied().unzip();
        World { roles, rounds, failovers, silences: 0, is_deposed: false, broken: None }
    }

    pub(super) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn vote(&self, s: &mut State, p: usize, slot: Slot, n: usize) {
        let view = s.views[n];
        if let Some(query) = s.processes[p].query_mut(slot) {
            query.answers[n] = Some(view);
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // A fragment has been stored at the first master.
        let (value, fingerprint) = (Some(Fragment { version: 0, token: 1 }), Some((0, 0)));
        let first = Data { fingerprint, stamp: Some(1), value };
        let server = |is_master, data| Server { is_master, identity: 0, data };
        let process = |left: &u8| Process {
            joining: Joining::Not,
            link: None,
            at: At::Idle,
            left: *left,
            floor: 0,
            near: None,
            pushed_floor: None,
            heartbeat: None,
            last: Last::NoAnswer,
        };
        let mut start = State {
            db: 0,
            floor: 0,
            views: [0; SENTINELS],
            of_epoch: vec![0],
            promoting: None,
            servers: [server(true, first), server(false, Data::default())],
            tokens: 1,
            identities: 0,
            silences: self.silences,
            processes: self.rounds.iter().map(process).collect(),
            has_moved: false,
        };
        if self.is_deposed {
            start.of_epoch.push(1);
            start.views = [1; SENTINELS];
            start.identities = 1;
            start.servers[1].is_master = true;
            start.servers[1].identity = 1;
            start.processes[0].link = Some(Link { server: 0, epoch: 0, identity: 0 });
        }
        vec![start]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        (0..s.processes.len()).for_each(|p| self.steps(s, p, actions));
        self.happenings(s, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut s = before.clone();
        match action {
            Action::Step(p) => self.step(&mut s, p),
            Action::Trip(p) => self.trip(&mut s, p),
            Action::Vote(p, slot, n) => self.vote(&mut s, p, slot, n),
            Action::GiveUp(p, slot) => {
                s.silences -= 1;
                s.processes[p].query_mut(slot).into_iter().for_each(|it| it.is_over = true);
            }
            Action::Heartbeat(p) => self.heartbeat(&mut s, p),
            Action::HeartbeatAnswered(p) => self.heartbeat_answered(&mut s, p),
            Action::Vouch(p) => self.vouch(&mut s, p),
            other => self.happen(&mut s, other),
        }
        s.normalize();
        (s != *before).then_some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_STALE, |_, s: &State| {
                !s.processes.iter().any(|process| matches!(process.last, Last::Stale { .. }))
            }),
            Property::sometimes(HIT, |_, s: &State| {
                s.processes.iter().any(|process| process.last == Last::Hit)
            }),
            Property::sometimes(MOVED, |_, s: &State| s.has_moved),
        ]
    }
}
