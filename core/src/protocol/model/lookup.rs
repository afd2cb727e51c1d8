//! Lookups: in memory first, then in the store.

use super::broken::Broken;
use super::names::{Key, Tok, number, token};
use super::near::{Fragment, Obj};
use super::server::{Cmd, Rep};
use super::state::{At, HeldStamp, Last, Lookup, Next, Pipe, Purpose, State, Value};
use super::world::World;
use crate::protocol::{MemoryTrust, StampRead, Verdict, current, verdict};

impl World {
    /// Begins a lookup.
    pub(super) fn look_up(&self, s: &mut State, t: usize) {
        let process = &s.processes[s.threads[t].process];
        let floor = if self.is_strict(s, t) {
            s.floor
        } else {
            process.own_floor.max(process.pushed_floor)
        };
        let near = process.near.fragments[self.fragment(s, t)].clone();
        s.threads[t].floor = floor;
        s.threads[t].last = Last::Nothing;
        if self.is(Broken::OldSnapshot) {
            s.threads[t].opened = s.db;
        }
        let Some(near) = near else {
            let ahead = self.prefetches;
            return self.take_link(s, t, if ahead { Next::Prefetch } else { Next::Lease(None) });
        };
        if self.is_strict(s, t) || !process.near.are_current(&near.stamps) {
            return self.take_link(s, t, Next::Revalidate(near));
        }
        if self.is(Broken::TrustLast) {
            s.threads[t].at = At::Checked(near);
        } else {
            self.trust(s, t, near);
        }
    }

    /// Serves a fragment whose stamps are current, if that can be trusted.
    pub(super) fn trust(&self, s: &mut State, t: usize, near: Fragment) {
        if s.processes[s.threads[t].process].trusted {
            self.serve(s, t, near.version, near.stamps, Last::NearHit);
        } else {
            self.take_link(s, t, Next::Revalidate(near));
        }
    }

    fn begin_look(&self, s: &State, t: usize) -> Lookup {
        Lookup {
            memory: match s.processes[s.threads[t].process].trusted && !self.is_strict(s, t) {
                true => MemoryTrust::Trusted,
                false => MemoryTrust::Untrusted,
            },
            near: None,
            lease: None,
            leasing: 0,
            given_up: None,
            held: Vec::new(),
            asked: Vec::new(),
            read: Vec::new(),
            value: None,
        }
    }

    /// Revalidates a fragment in memory, unless it is known not to be
    /// current.
    pub(super) fn revalidate(&self, s: &mut State, t: usize, session: u8, near: Fragment) {
        let mut look = self.begin_look(s, t);
        look.held = self.renew(s, t, &near);
        let memory = &s.processes[s.threads[t].process].near;
        let invalidated =
            |obj: &Obj| memory.session_of(*obj) == session && !memory.is_current(*obj);
        if near.stamps.iter().any(invalidated) {
            return self.take_link(s, t, Next::Lease(Some(near)));
        }
        look.near = Some(near);
        self.send_look(s, t, session, look, Asks::Stamps);
    }

    /// Reads a value without a lease.
    pub(super) fn prefetch(&self, s: &mut State, t: usize, session: u8) {
        let look = self.begin_look(s, t);
        self.send_look(s, t, session, look, Asks::Value);
    }

    /// Reads the value, with a lease.
    pub(super) fn look_up_and_lease(
        &self,
        s: &mut State,
        t: usize,
        session: u8,
        was: Option<Fragment>,
    ) {
        let mut look = self.begin_look(s, t);
        look.lease = Some(self.lease(s, t));
        if let Some(was) = was {
            look.held = self.renew(s, t, &was);
        }
        self.send_look(s, t, session, look, Asks::ValueAndLease);
    }

    /// The current objects for the stamps of a fragment.
    fn renew(&self, s: &mut State, t: usize, fragment: &Fragment) -> Vec<HeldStamp> {
        let near = &mut s.processes[s.threads[t].process].near;
        let line = near.lineage(&fragment.stamps);
        let mut held: Vec<HeldStamp> = Vec::with_capacity(line.len());
        for old in &line {
            let object = near.object(*old).clone();
            let above = line.iter().position(|obj| Some(*obj) == object.parent);
            let obj = match above {
                _ if near.is_current(*old) => *old,
                Some(above) => near.at(object.key, held[above].obj),
                None => near.everything,
            };
            let named = fragment.stamps.contains(old);
            held.push(HeldStamp { made_under: object.token, obj, named });
        }
        held
    }

    /// The current objects for the stamps that a value was stored with.
    fn place(&self, s: &mut State, t: usize, value: &Value) -> Vec<HeldStamp> {
        let near = &mut s.processes[s.threads[t].process].near;
        let all = near.everything;
        let epoch = near.at(Key::Registry, all);
        let mut held = vec![
            HeldStamp { made_under: Some(value.all), obj: all, named: false },
            HeldStamp { made_under: Some(value.epoch), obj: epoch, named: false },
        ];
        for (n, made_under) in (0..).zip(value.stamps) {
            if made_under.is_some() {
                let obj = near.at(Key::Stamp(n), epoch);
                held.push(HeldStamp { made_under, obj, named: true });
            }
        }
        held
    }

    /// Sends the commands, with reads of all held stamps that have to be
    /// read.
    fn send_look(&self, s: &mut State, t: usize, session: u8, mut look: Lookup, asks: Asks) {
        let near = &s.processes[s.threads[t].process].near;
        let lease = look.lease.as_ref().filter(|_| asks == Asks::ValueAndLease);
        let mut cmds = lease.map_or(Vec::new(), |lease| self.lease_commands(lease));
        look.leasing = cmds.len() as u8;
        let new = |obj: &Obj| lease.is_some_and(|it| it.new_objects().any(|new| new == *obj));
        let leased = lease.map_or(Vec::new(), |lease| near.lineage(&lease.stamps));
        look.asked = Vec::new();
        for obj in look.held.iter().map(|held| held.obj).chain(leased) {
            if look.read.iter().all(|(read, _)| *read != obj)
                && !look.asked.contains(&obj)
                && look.memory.has_to_read(near.known(obj))
                && !new(&obj)
            {
                look.asked.push(obj);
            }
        }
        if asks != Asks::Stamps {
            cmds.push(Cmd::Get(Key::Value(self.fragment(s, t) as u8)));
        }
        cmds.extend(look.asked.iter().map(|obj| read_command(near.object(*obj).key)));
        if cmds.is_empty() {
            return self.judge(s, t, session, look);
        }
        s.threads[t].at = At::Sent(Pipe::new(session, cmds), Purpose::Lookup(look));
    }

    /// The step that follows from the replies to a round trip of a lookup.
    pub(super) fn looked(&self, s: &mut State, t: usize, pipe: &Pipe, mut look: Lookup) {
        if look.given_up.is_some() {
            return self.bypass(s, t);
        }
        if self.is(Broken::ObjectsAfterReads) {
            let near = &mut s.processes[s.threads[t].process].near;
            look.held.iter_mut().for_each(|held| held.obj = near.again(held.obj));
            look.asked.iter_mut().for_each(|obj| *obj = near.again(*obj));
        }
        let (leased, rest) = pipe.replies.split_at(look.leasing.into());
        if let (Some(lease), false) = (&mut look.lease, leased.is_empty()) {
            look.read.extend(self.leased(s, t, pipe.session, leased, lease));
        }
        let mut replies = rest.iter();
        let asked_for_value = rest.len() > look.asked.len();
        let value = asked_for_value.then(|| replies.next()).flatten();
        for (obj, reply) in std::mem::take(&mut look.asked).into_iter().zip(replies) {
            let found = self.token_in(s, reply);
            if found.is_none() && matches!(reply, Rep::Fingerprinted(Some(_))) {
                // The servers have changed.
                self.disconnect(s, t, pipe.session);
                return self.bypass(s, t);
            }
            self.take(s, t, pipe.session, obj, found);
            look.read.push((obj, found));
        }
        match value {
            Some(Rep::Value(Some(value))) => {
                look.value = Some(*value);
                look.held = self.place(s, t, value);
                self.send_look(s, t, pipe.session, look, Asks::Stamps);
            }
            Some(_) => self.miss(s, t, pipe.session, look),
            None => self.judge(s, t, pipe.session, look),
        }
    }

    /// Stores the token of an object that was read in a session; false if the
    /// object cannot have it.
    pub(super) fn take(
        &self,
        s: &mut State,
        t: usize,
        session: u8,
        obj: Obj,
        found: Option<Tok>,
    ) -> bool {
        if found.is_none() && self.is(Broken::MissingEqual) {
            return true;
        }
        let near = &mut s.processes[s.threads[t].process].near;
        let in_session = near.session_of(obj) == session || self.is(Broken::OldSessionSettles);
        let settled = in_session && near.settle(obj, found);
        if !settled {
            near.drop_object(obj);
        }
        settled
    }

    /// Compares the held stamps with those that count.
    fn judge(&self, s: &mut State, t: usize, session: u8, look: Lookup) {
        let near = &s.processes[s.threads[t].process].near;
        let counts = |held: &HeldStamp| {
            let read = look.read.iter().find(|(obj, _)| *obj == held.obj);
            let read =
                read.map_or(StampRead::NotRead, |(_, found)| StampRead::Read(found.map(token)));
            current(look.memory, read, near.known(held.obj))
        };
        let made_under = |held: &HeldStamp| held.made_under.map(token);
        let pairs: Vec<_> = look.held.iter().map(|held| (made_under(held), counts(held))).collect();
        let holds = self.verdict(pairs) == Verdict::Holds
            && look.held.iter().all(|held| near.is_current(held.obj));
        if holds {
            let version = look.value.map(|value| value.version);
            let version = version.or(look.near.as_ref().map(|near| near.version)).unwrap_or(0);
            let named = look.held.iter().filter(|held| held.named).map(|held| held.obj);
            let stamps: Vec<Obj> = named.collect();
            let fragment = self.fragment(s, t);
            let near = &mut s.processes[s.threads[t].process].near;
            near.fragments[fragment] = Some(Fragment { version, stamps: stamps.clone() });
            return self.serve(s, t, version, stamps, Last::SharedHit);
        }
        self.miss(s, t, session, look);
    }

    fn verdict(&self, mut pairs: Vec<Pair>) -> Verdict {
        if self.is(Broken::MissingEqual) {
            pairs.retain(|(_, current)| current.is_some());
        }
        verdict(pairs)
    }

    /// Fills with what was leased, or looks again and leases.
    fn miss(&self, s: &mut State, t: usize, session: u8, look: Lookup) {
        let Some(lease) = look.lease else {
            return self.take_link(s, t, Next::Lease(look.near));
        };
        let fragment = self.fragment(s, t);
        s.processes[s.threads[t].process].near.fragments[fragment] = None;
        self.fill_soon(s, t, session, lease);
    }

    /// The token in a reply to the read of a stamp.
    pub(super) fn token_in(&self, s: &State, reply: &Rep) -> Option<Tok> {
        match reply {
            Rep::Token(found) => *found,
            Rep::Fingerprinted(found) => {
                let ours =
                    |fingerprint| fingerprint == s.identity || self.is(Broken::GoesBackUnnoticed);
                found.filter(|(_, fingerprint)| ours(*fingerprint)).map(|(found, _)| found)
            }
            other => panic!("no stamp: {other:?}"),
        }
    }
}

/// What a round trip of a lookup requests besides stamps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Stamps,
    Value,
    ValueAndLease,
}

type Pair = (Option<crate::protocol::Token>, Option<crate::protocol::Token>);

/// The command that reads a stamp.
pub(super) fn read_command(key: Key) -> Cmd {
    match key {
        Key::Registry => Cmd::HGetEpoch,
        other => Cmd::Get(other),
    }
}

/// The number of a token that the shipped code has read.
pub(super) fn number_of(found: Option<crate::protocol::Token>) -> Option<Tok> {
    found.map(number)
}
