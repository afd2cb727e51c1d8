//! Changes: commits, and the invalidations that announce them.

use super::broken::Broken;
use super::names::{Key, TABLE, names, number, token};
use super::server::{Cmd, Rep};
use super::state::{At, Pipe, Purpose, State, Sweeping};
use super::world::{Change, World};
use crate::protocol::{Command, Next, Sweep, SweepTarget, Swept};

impl World {
    /// Commits a change, and begins to announce it.
    pub(super) fn change(&self, s: &mut State, t: usize) {
        let version = s.db + 1;
        if !self.is(Broken::AnnouncedBeforeCommit) {
            s.db = version;
        }
        s.threads[t].at = At::Waiting(version);
        self.announce(s, t, version);
    }

    /// Begins to announce a version, if there is a connection.
    pub(super) fn announce(&self, s: &mut State, t: usize, version: u8) {
        let process = &s.processes[s.threads[t].process];
        let Some(session) = process.link else { return };
        let key = match self.kind_of_change(s, t) {
            Change::Table => Key::Registry,
            Change::Everything => Key::All,
            Change::Row | Change::Partial => {
                let sweep = Sweeping { version, known: process.registry, replies: Vec::new() };
                return self.sweep(s, t, session, sweep);
            }
        };
        let pipe = Pipe::new(session, vec![Cmd::Unlink(vec![key])]);
        s.threads[t].at = At::Sent(pipe, Purpose::Drop(key, version));
    }

    /// Processes the replies to the commands of a sweep.
    pub(super) fn swept(&self, s: &mut State, t: usize, pipe: &Pipe, mut sweep: Sweeping) {
        sweep.replies.push(pipe.replies.clone());
        self.sweep(s, t, pipe.session, sweep);
    }

    /// The next step of a sweep with these replies.
    fn sweep(&self, s: &mut State, t: usize, session: u8, sweep: Sweeping) {
        match self.next(self.kind_of_change(s, t), &sweep) {
            Next::Send(commands) => {
                let cmds = commands.iter().map(|command| names().read(command)).collect();
                s.threads[t].at = At::Sent(Pipe::new(session, cmds), Purpose::Sweep(sweep));
            }
            Next::Done(swept) => {
                self.forget(s, t, &swept);
                self.announced(s, t, sweep.version);
            }
        }
    }

    /// Lets the shipped sweep decide, from its beginning.
    fn next(&self, change: Change, told: &Sweeping) -> Next {
        let row = match change {
            Change::Partial => &names().partial,
            _ => &names().row,
        };
        let target = SweepTarget {
            prefix: "",
            table: TABLE,
            registry: names().registry.as_bytes(),
            rows: std::slice::from_ref(row),
            most: 10,
            at_once: 10,
            atomic: !self.is_cluster || self.is(Broken::OnePass),
        };
        if self.is(Broken::LooksBefore) {
            return self.look_before(&target, told);
        }
        let mut sweep = Sweep::new(names().registry(told.known));
        let mut next = sweep.begin(&target);
        for (n, replies) in told.replies.iter().enumerate() {
            if self.is(Broken::OldSchemes) && n == 0 {
                return Next::Done(dropped(&next, told.known));
            }
            let replies: Vec<_> = replies.iter().map(|reply| names().reply(reply)).collect();
            next = sweep.step(&target, &replies);
        }
        next
    }

    /// A broken sweep that reads the registry first, and not again.
    fn look_before(&self, target: &SweepTarget<'_>, told: &Sweeping) -> Next {
        let found = match told.replies.first().map(|replies| &replies[..]) {
            None => return Next::Send(vec![Command::HGetAll(target.registry.to_vec())]),
            Some([.., Rep::Fields(found)]) => *found,
            Some(_) => (None, 0),
        };
        let Next::Send(mut commands) = Sweep::new(names().registry(found)).begin(target) else {
            panic!("a sweep sends something");
        };
        commands.pop();
        let next = Next::Send(commands);
        if told.replies.len() > 1 || next == Next::Send(Vec::new()) {
            return Next::Done(dropped(&next, found));
        }
        next
    }

    /// Drops in memory what a sweep has dropped in the store.
    fn forget(&self, s: &mut State, t: usize, swept: &Swept) {
        let process = &mut s.processes[s.threads[t].process];
        let near = &mut process.near;
        if self.is(Broken::OwnChangeKept) {
        } else if swept.whole {
            near.key_changed(Key::Registry);
        } else {
            let found = swept.registry.epoch.map(number);
            near.drop_other_epoch(found);
            swept.keys.iter().for_each(|key| near.key_changed(names().key(key)));
        }
        process.registry = names().seen(&swept.registry);
    }

    /// Processes the reply to the deletion of one key.
    pub(super) fn dropped(&self, s: &mut State, t: usize, key: Key, version: u8) {
        let process = &mut s.processes[s.threads[t].process];
        if !self.is(Broken::OwnChangeKept) {
            process.near.key_changed(key);
        }
        if key == Key::Registry {
            process.registry = (None, 0);
        }
        self.announced(s, t, version);
    }

    /// The invalidation returns.
    fn announced(&self, s: &mut State, t: usize, version: u8) {
        s.db = s.db.max(version);
        s.floor = s.floor.max(version);
        let process = &mut s.processes[s.threads[t].process];
        process.own_floor = process.own_floor.max(version);
        self.end_round(s, t);
    }

    /// An invalidation that failed starts again over the next connection.
    pub(super) fn undelivered(&self, s: &mut State, t: usize, version: u8) {
        s.processes[s.threads[t].process].near.replace_everything();
        s.threads[t].at = At::Waiting(version);
    }
}

/// The result of a sweep that stops after its first deletions.
fn dropped(next: &Next, registry: (Option<u8>, u8)) -> Swept {
    let mut swept = Swept { registry: names().registry(registry), ..Swept::default() };
    if let Next::Send(commands) = next {
        for command in commands {
            if let Command::Unlink(keys) = command {
                swept.keys.extend(keys.iter().cloned());
            }
        }
    }
    debug_assert_eq!(swept.registry.epoch, registry.0.map(token));
    swept
}
