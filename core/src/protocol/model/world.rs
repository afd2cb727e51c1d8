//! The participants of a search, and their steps.

use super::broken::Broken;
use super::names::Key;
use super::server::Cmd;
use super::state::{At, Connection, Faults, Filling, Next, Pipe, Purpose, State, Thread};

/// A world to search: the participants, and the faults that may happen.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// For each process, whether it reads in strict mode.
    pub(super) strict: Vec<bool>,
    /// The threads, with the processes they belong to.
    pub(super) threads: Vec<(usize, Role)>,
    pub(super) is_cluster: bool,
    pub(super) faults: Faults,
    /// Which keys may be lost.
    pub(super) losable: Vec<Key>,
    pub(super) broken: Option<Broken>,
    /// Whether values are prefetched, as for the next fragments of a page.
    pub(super) prefetches: bool,
    /// Whether a thread with a connection may be slow to use it.
    pub(super) slow_links: bool,
    /// Threads whose next rounds run before the search begins, one after the
    /// other.
    pub(super) before: Vec<usize>,
    /// Threads that have read the data of a list before the search begins.
    pub(super) inside: Vec<usize>,
    /// Threads that have taken so many steps before the search begins.
    pub(super) ahead: Vec<(usize, usize)>,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Looks a fragment up so many times.
    Reader(u8, u8),
    /// Looks up a list that hands its row to a fragment of the row.
    Nested(u8),
    Writer(&'static [Change]),
}

/// What a writer announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Row,
    /// A row without the columns that some schemes need.
    Partial,
    Table,
    Everything,
}

/// One step of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A thread continues; with several commands, by the one with this
    /// number.
    Run(usize, usize),
    Push(usize, u8),
    Heartbeat(usize),
    Pause(usize),
    Cut(usize),
    GiveUpLink(usize),
    Unverify(usize),
    Connect(usize),
    Lose(Key),
    /// The tracking table of the store is full.
    Overflow(usize, Key),
    GiveUp(usize),
    Flush,
    Save,
    GoBack,
}

/// The schemes of the fragments: one of a row, one of a list.
const FRAGMENTS: [u8; 2] = [0b010, 0b001];

impl World {
    /// Processes with threads, and nothing that goes wrong.
    pub(super) fn new(strict: &[bool], threads: &[(usize, Role)]) -> Self {
        World {
            strict: strict.to_vec(),
            threads: threads.to_vec(),
            is_cluster: false,
            faults: Faults::default(),
            losable: Vec::new(),
            broken: None,
            prefetches: false,
            slow_links: false,
            before: Vec::new(),
            inside: Vec::new(),
            ahead: Vec::new(),
        }
    }

    pub(super) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    pub(super) fn is_strict(&self, s: &State, t: usize) -> bool {
        self.strict[s.threads[t].process]
    }

    /// Which fragment a thread is at.
    pub(super) fn fragment(&self, s: &State, t: usize) -> usize {
        match self.threads[t].1 {
            Role::Reader(fragment, _) => fragment.into(),
            Role::Nested(_) => usize::from(s.threads[t].outer.is_none()),
            Role::Writer(_) => 0,
        }
    }

    pub(super) fn is_nested(&self, _: &State, t: usize) -> bool {
        matches!(self.threads[t].1, Role::Nested(_))
    }

    pub(super) fn schemes(&self, fragment: usize) -> u8 {
        FRAGMENTS[fragment]
    }

    pub(super) fn kind_of_change(&self, s: &State, t: usize) -> Change {
        match self.threads[t].1 {
            Role::Writer(changes) => changes[usize::from(s.threads[t].round)],
            _ => Change::Row,
        }
    }

    fn rounds(&self, t: usize) -> u8 {
        match self.threads[t].1 {
            Role::Reader(_, rounds) | Role::Nested(rounds) => rounds,
            Role::Writer(changes) => changes.len() as u8,
        }
    }

    /// Whether the stamp of everything never changes. Reading it then needs
    /// no step of its own.
    pub(super) fn is_all_fixed(&self) -> bool {
        let writes = |(_, role): &(usize, Role)| match role {
            Role::Writer(changes) => changes.contains(&Change::Everything),
            _ => false,
        };
        let Faults { flushes, rollbacks, .. } = self.faults;
        !self.losable.contains(&Key::All)
            && flushes + rollbacks == 0
            && !self.threads.iter().any(writes)
    }

    pub(super) fn end_round(&self, s: &mut State, t: usize) {
        let thread = &mut s.threads[t];
        thread.round += 1;
        thread.outer = None;
        thread.floor = 0;
        thread.at = if thread.round < self.rounds(t) { At::Idle } else { At::Done };
    }

    /// Continues without the cache. Outer fragments are not stored then.
    pub(super) fn bypass(&self, s: &mut State, t: usize) {
        match s.threads[t].outer.take() {
            Some(outer) => {
                let (stamps, version) = (outer.stamps, outer.version);
                s.threads[t].at = At::Made(Filling { stamps, version, uncacheable: true });
            }
            None => self.end_round(s, t),
        }
    }

    /// Takes the connection, if there is one.
    pub(super) fn take_link(&self, s: &mut State, t: usize, next: Next) {
        let Some(session) = s.processes[s.threads[t].process].link else {
            return self.bypass(s, t);
        };
        if self.slow_links {
            s.threads[t].at = At::Linked(session, next);
        } else {
            self.use_link(s, t, session, next);
        }
    }

    fn use_link(&self, s: &mut State, t: usize, session: u8, next: Next) {
        match next {
            Next::Revalidate(near) => self.revalidate(s, t, session, near),
            Next::Prefetch => self.prefetch(s, t, session),
            Next::Lease(was) => self.look_up_and_lease(s, t, session, was),
        }
    }

    /// A thread takes its next step.
    pub(super) fn run(&self, s: &mut State, t: usize, choice: usize) {
        match std::mem::replace(&mut s.threads[t].at, At::Done) {
            At::Idle => match self.threads[t].1 {
                Role::Writer(_) => self.change(s, t),
                _ => self.look_up(s, t),
            },
            At::Checked(near) => self.trust(s, t, near),
            At::Linked(session, next) => self.use_link(s, t, session, next),
            At::Made(filling) => self.keep(s, t, filling),
            At::Waiting(version) => {
                s.threads[t].at = At::Waiting(version);
                self.announce(s, t, version);
            }
            At::Sent(pipe, purpose) => self.go_on(s, t, pipe, purpose, choice),
            At::Done => {}
        }
    }

    /// Executes a command, or processes the replies to all.
    fn go_on(&self, s: &mut State, t: usize, mut pipe: Pipe, purpose: Purpose, choice: usize) {
        let n = s.threads[t].process;
        if !pipe.is_finished() {
            if s.processes[n].connections.iter().all(|it| it.session != pipe.session) {
                self.disconnect(s, t, pipe.session);
                return self.fail(s, t, purpose);
            }
            self.carry_out(s, n, &mut pipe, choice);
            if let (Purpose::Store(filling), true) = (&purpose, pipe.is_finished()) {
                return self.filled(s, t, filling.clone());
            }
            s.threads[t].at = At::Sent(pipe, purpose);
            return;
        }
        self.fall_behind(s, t);
        match purpose {
            Purpose::Lookup(look) => self.looked(s, t, &pipe, look),
            Purpose::Verify(lease, around) => self.verified(s, t, &pipe, lease, &around),
            Purpose::Store(filling) => self.filled(s, t, filling),
            Purpose::Sweep(sweep) => self.swept(s, t, &pipe, sweep),
            Purpose::Drop(key, version) => self.dropped(s, t, key, version),
        }
    }

    /// The connection was lost midway.
    fn fail(&self, s: &mut State, t: usize, purpose: Purpose) {
        match purpose {
            Purpose::Lookup(_) | Purpose::Verify(..) => self.bypass(s, t),
            Purpose::Store(filling) => self.filled(s, t, filling),
            Purpose::Sweep(sweep) => self.undelivered(s, t, sweep.version),
            Purpose::Drop(_, version) => self.undelivered(s, t, version),
        }
    }

    fn carry_out(&self, s: &mut State, n: usize, pipe: &mut Pipe, choice: usize) {
        let client = (n, pipe.session);
        let told = |s: &State| {
            let of_line = |it: &&Connection| it.session == client.1;
            let connection = s.processes[n].connections.iter().find(of_line);
            connection.map_or(0, |it| it.queue.len() as u8)
        };
        let mut next = Some(choice);
        // Pushes for the last command follow its reply.
        let mut before_last = 0;
        while let Some(at) = next {
            before_last = told(s);
            pipe.replies[at] = s.carry_out(client, &pipe.cmds[at]);
            pipe.done |= 1 << at;
            next = self.first_of_keys(pipe).find(|at| self.stands_still(s, &pipe.cmds[*at]));
        }
        if pipe.is_finished() && !self.is_cluster {
            pipe.after = before_last;
        }
    }

    /// Whether a command changes nothing, and so needs no step of its own.
    fn stands_still(&self, s: &State, cmd: &Cmd) -> bool {
        (cmd.key() == Key::All && self.is_all_fixed())
            || (*cmd == Cmd::Limit && s.server.is_limited)
    }

    /// The commands that may be executed next: the first one or, in a
    /// cluster, the first one of each key.
    fn first_of_keys(&self, pipe: &Pipe) -> impl Iterator<Item = usize> {
        let open: Vec<usize> = pipe.open().collect();
        let key = |n: usize| pipe.cmds[n].key();
        let is_first = |at: usize| match self.is_cluster {
            true => open[..at].iter().all(|before| key(*before) != key(open[at])),
            false => at == 0,
        };
        let first: Vec<usize> =
            (0..open.len()).filter(|at| is_first(*at)).map(|at| open[at]).collect();
        first.into_iter()
    }

    fn choices(&self, pipe: &Pipe, actions: &mut Vec<Action>, t: usize) {
        actions.extend(self.first_of_keys(pipe).map(|n| Action::Run(t, n)));
    }

    /// Runs a thread until a condition holds, and receives all its pushes.
    fn run_until(&self, s: &mut State, t: usize, then: impl Fn(&Thread) -> bool) {
        while !then(&s.threads[t]) {
            self.run_first(s, t);
        }
    }

    fn run_first(&self, s: &mut State, t: usize) {
        let choice = match &s.threads[t].at {
            At::Sent(pipe, _) => pipe.open().next().unwrap_or(0),
            _ => 0,
        };
        self.run(s, t, choice);
        self.deliver_all_pushes(s);
        s.normalize();
    }

    /// What is done before the search begins.
    pub(super) fn run_before(&self, s: &mut State) {
        for t in &self.before {
            let round = s.threads[*t].round;
            self.run_until(s, *t, |thread| thread.round > round);
        }
        for t in &self.inside {
            self.run_until(s, *t, |thread| thread.outer.is_some());
        }
        for (t, steps) in &self.ahead {
            (0..*steps).for_each(|_| self.run_first(s, *t));
        }
    }

    pub(super) fn runs(&self, s: &State, t: usize, actions: &mut Vec<Action>) {
        let thread = &s.threads[t];
        match &thread.at {
            At::Done => {}
            At::Waiting(_) if s.processes[thread.process].link.is_none() => {}
            At::Sent(pipe, _) if !pipe.is_finished() && self.is_behind(s, t) => {}
            At::Sent(pipe, _) if !pipe.is_finished() => self.choices(pipe, actions, t),
            At::Sent(pipe, _) if pipe.after > 0 => {}
            _ => actions.push(Action::Run(t, 0)),
        }
    }
}
