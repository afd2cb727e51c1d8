//! Fills: taking stamps, reading the data, storing what was made of them.

use super::broken::Broken;
use super::lookup::{number_of, read_command};
use super::names::{Key, Tok, bits, names, number, token};
use super::near::{Fragment, Obj};
use super::server::{Cmd, Rep};
use super::state::{At, Filling, Last, Lease, Outer, Pipe, Purpose, State, Value};
use super::world::World;
use crate::protocol::lease::LeaseReplies;
use crate::protocol::{LeasePlan, Reply, TablePlan, Token};

impl World {
    /// Begins the taking of stamps.
    pub(super) fn lease(&self, s: &mut State, t: usize) -> Lease {
        let schemes = bits(self.schemes(self.fragment(s, t)));
        let process = s.threads[t].process;
        let stamps = s.processes[process].near.lease(schemes);
        self.plan(s, t, stamps)
    }

    /// What has to be registered and read: everything that is not known.
    fn plan(&self, s: &mut State, t: usize, stamps: Vec<Obj>) -> Lease {
        let process = s.threads[t].process;
        let schemes = self.schemes(self.fragment(s, t));
        let mut next = s.new_token();
        let early = match self.broken {
            Some(Broken::DataFirst) => Some(s.db),
            Some(Broken::OldSnapshot) => Some(s.threads[t].opened),
            _ => None,
        };
        let mut lease =
            Lease { stamps, table: None, plain: Vec::new(), is_registered: true, early };
        let near = &s.processes[process].near;
        for obj in near.lineage(&lease.stamps) {
            let object = near.object(obj);
            let by_the_way = self.is(Broken::SettledWithoutScheme) && object.token.is_some();
            if near.is_leased(obj) || by_the_way {
                continue;
            }
            let mut new = || {
                next += 1;
                if self.is(Broken::ReusedTokens) {
                    return super::canon::FIXED + process as u8;
                }
                next - 1
            };
            let epoch = match object.key {
                Key::Registry => Some(obj),
                Key::Stamp(_) => object.parent,
                _ => None,
            };
            if let Some(epoch) = epoch.filter(|_| lease.table.is_none()) {
                lease.table = Some((new(), schemes, epoch));
            }
            if object.key != Key::Registry {
                lease.plain.push((object.key, new(), obj));
            }
        }
        lease
    }

    /// The commands that the shipped plan sends.
    pub(super) fn lease_commands(&self, lease: &Lease) -> Vec<Cmd> {
        let mut cmds: Vec<Cmd> =
            shipped(lease).commands().iter().map(|command| names().read(command)).collect();
        if self.is(Broken::SchemesAtStore) {
            // Their positions stay, so that the replies can be read.
            for cmd in &mut cmds {
                if matches!(cmd, Cmd::HSetNxScheme(_)) {
                    *cmd = Cmd::Get(Key::Value(0));
                }
            }
        }
        cmds
    }

    /// Processes the replies to a lease: what was found for which object.
    pub(super) fn leased(
        &self,
        s: &mut State,
        t: usize,
        session: u8,
        replies: &[Rep],
        lease: &mut Lease,
    ) -> Vec<(Obj, Option<Tok>)> {
        if self.is(Broken::ObjectsAfterReads) {
            let near = &mut s.processes[s.threads[t].process].near;
            lease.table.iter_mut().for_each(|(.., obj)| *obj = near.again(*obj));
            lease.plain.iter_mut().for_each(|(.., obj)| *obj = near.again(*obj));
            lease.stamps.iter_mut().for_each(|obj| *obj = near.again(*obj));
        }
        let reply = |reply: &Rep| match reply {
            // The values for schemes that are registered later.
            Rep::Value(_) => Reply::Done(true),
            reply => names().reply(reply),
        };
        let shipped_replies: Vec<Reply> = replies.iter().map(reply).collect();
        let mut leased = shipped(lease).read(&shipped_replies);
        self.break_epochs(lease, replies, &mut leased);
        lease.is_registered = leased.is_registered;
        let mut read = Vec::new();
        for ((_, _, obj), found) in lease.table.iter().zip(leased.epochs) {
            self.take(s, t, session, *obj, number_of(found));
            read.push((*obj, number_of(found)));
        }
        for ((key, _, obj), found) in lease.plain.iter().zip(leased.stamps) {
            let found = found.and_then(|value| {
                let (value, fingerprint) = value.split_at(Token::LEN);
                let ours = *key != Key::All || fingerprint == [s.identity];
                Token::read(value).filter(|_| ours || self.is(Broken::GoesBackUnnoticed))
            });
            if self.take(s, t, session, *obj, number_of(found)) && lease.is_registered {
                s.processes[s.threads[t].process].near.note_registered(*obj);
            }
            read.push((*obj, number_of(found)));
        }
        (lease.table, lease.plain) = (None, Vec::new());
        read
    }

    /// Continues with a fill, after checking the stamps around it again where
    /// this is necessary.
    pub(super) fn fill_soon(&self, s: &mut State, t: usize, session: u8, lease: Lease) {
        let around = self.has_to_verify(s, t);
        if around.is_empty() {
            return self.fill(s, t, lease);
        }
        let near = &s.processes[s.threads[t].process].near;
        let reads = around.iter().map(|obj| read_command(near.object(*obj).key)).collect();
        let purpose = Purpose::Verify(lease, around);
        s.threads[t].at = At::Sent(Pipe::new(session, reads), purpose);
    }

    /// Lets only one of the two reads of the epoch count.
    fn break_epochs(&self, lease: &Lease, replies: &[Rep], leased: &mut LeaseReplies) {
        let reply = match self.broken {
            _ if lease.table.is_none() => return,
            Some(Broken::EpochLast) => replies.last(),
            Some(Broken::EpochOnce) => replies.get(1),
            _ => return,
        };
        let found = match reply {
            Some(Rep::Token(found)) => *found,
            _ => None,
        };
        leased.epochs.iter_mut().for_each(|epoch| *epoch = found.map(token));
        leased.is_registered = true;
    }

    /// The stamps around that have to be checked after a lease, where their
    /// pushes may arrive after its replies.
    fn has_to_verify(&self, s: &State, t: usize) -> Vec<Obj> {
        let process = &s.processes[s.threads[t].process];
        let outer = s.threads[t].outer.as_ref();
        outer
            .filter(|_| self.is_cluster)
            .map_or(Vec::new(), |outer| process.near.lineage(&outer.stamps))
    }

    /// Processes the replies to reads of the stamps around.
    pub(super) fn verified(
        &self,
        s: &mut State,
        t: usize,
        pipe: &Pipe,
        lease: Lease,
        around: &[Obj],
    ) {
        for (obj, reply) in around.iter().zip(&pipe.replies) {
            let found = self.token_in(s, reply);
            self.take(s, t, pipe.session, *obj, found);
        }
        self.fill(s, t, lease);
    }

    /// Reads the data after the stamps are taken, or takes it from around.
    fn fill(&self, s: &mut State, t: usize, lease: Lease) {
        let near = &s.processes[s.threads[t].process].near;
        let thread = &s.threads[t];
        let outdated = |outer: &Outer| !near.are_current(&outer.stamps);
        let uncacheable = !lease.is_registered || thread.outer.as_ref().is_some_and(outdated);
        let handed = thread.outer.as_ref().map(|outer| outer.version);
        let version = lease.early.or(handed).unwrap_or(s.db);
        let filling = Filling { stamps: lease.stamps, version, uncacheable };
        if self.is_nested(s, t) && s.threads[t].outer.is_none() {
            let Filling { stamps, version, uncacheable } = filling;
            s.threads[t].outer = Some(Outer { stamps, version, uncacheable });
            return self.look_up(s, t);
        }
        s.threads[t].at = At::Made(filling);
    }

    /// Stores the result, first here and then in the store, if it is still
    /// current.
    pub(super) fn keep(&self, s: &mut State, t: usize, filling: Filling) {
        let fragment = self.fragment(s, t);
        let process = &mut s.processes[s.threads[t].process];
        let near = &mut process.near;
        if filling.uncacheable || !near.are_current(&filling.stamps) {
            return self.filled(s, t, filling);
        }
        let (version, stamps) = (filling.version, filling.stamps.clone());
        near.fragments[fragment] = Some(Fragment { version, stamps });
        let tokens = near.tokens(&filling.stamps);
        let (Some((all, epoch, stamps)), Some(session)) = (tokens, process.link) else {
            return self.filled(s, t, filling);
        };
        let value = Value { version, all, epoch, stamps };
        let mut cmds = Vec::new();
        if self.is(Broken::SchemesAtStore) {
            cmds.extend(bits(self.schemes(fragment)).map(Cmd::HSetNxScheme));
        }
        if self.is(Broken::StampsWrittenAgain) {
            let written = (0..).zip(stamps).filter_map(|(n, it)| Some((n, it?)));
            cmds.extend(written.map(|(n, it)| Cmd::SetStamp(Key::Stamp(n), it)));
        }
        cmds.push(Cmd::SetValue(fragment as u8, value));
        s.threads[t].at = At::Sent(Pipe::new(session, cmds), Purpose::Store(filling));
    }

    /// Ends a fill. An inner fill becomes part of the outer one.
    pub(super) fn filled(&self, s: &mut State, t: usize, filling: Filling) {
        if s.threads[t].outer.is_none() {
            return self.end_round(s, t);
        }
        self.absorb(s, t, filling.version, filling.stamps, filling.uncacheable);
    }

    /// Continues with the outer fill, which depends on what it has shown.
    fn absorb(&self, s: &mut State, t: usize, version: u8, stamps: Vec<Obj>, uncacheable: bool) {
        let Some(mut outer) = s.threads[t].outer.take() else { return };
        for obj in stamps {
            if !outer.stamps.contains(&obj) {
                outer.stamps.push(obj);
            }
        }
        let filling = Filling {
            version: outer.version.min(version),
            stamps: outer.stamps,
            uncacheable: outer.uncacheable || uncacheable,
        };
        s.threads[t].at = At::Made(filling);
    }

    /// Serves a hit, which must never be older than what was announced.
    pub(super) fn serve(&self, s: &mut State, t: usize, version: u8, stamps: Vec<Obj>, how: Last) {
        let thread = &mut s.threads[t];
        let floor = thread.floor;
        thread.last = if version < floor { Last::Stale { served: version, floor } } else { how };
        if thread.outer.is_some() {
            return self.absorb(s, t, version, stamps, false);
        }
        self.end_round(s, t);
    }
}

fn shipped(lease: &Lease) -> LeasePlan {
    let table = |(epoch, schemes, _): &(u8, u8, Obj)| TablePlan {
        registry: names().registry.as_bytes().into(),
        epoch: token(*epoch),
        schemes: bits(*schemes).map(|n| names().field(n)).collect(),
        until: 0,
    };
    let plain = |(key, new, _): &(Key, u8, Obj)| {
        (names().bytes(*key).into(), token(*new).as_bytes().to_vec(), None)
    };
    debug_assert!(lease.table.is_none_or(|(epoch, ..)| number(token(epoch)) == epoch));
    LeasePlan {
        tables: lease.table.iter().map(table).collect(),
        stamps: lease.plain.iter().map(plain).collect(),
    }
}
