//! What processes do: connecting, lookups, fills, announcements, heartbeats.

use super::Broken;
use super::state::{
    At, Fingerprint, Fragment, Heartbeat, Joining, Last, Link, Process, SentinelQuery, Server,
    State,
};
use super::world::{Action, Role, Slot, World};

impl Process {
    pub(super) fn query(&self, slot: Slot) -> Option<&SentinelQuery> {
        match (slot, &self.joining, &self.at) {
            (Slot::Heartbeat, ..) => self.heartbeat.as_ref().map(|heartbeat| &heartbeat.query),
            (_, Joining::Asking(query) | Joining::Confirming(_, query), _) => Some(query),
            (.., At::Looking { query, .. }) => query.as_ref(),
            (.., At::Announcing { query, .. }) => Some(query),
            _ => None,
        }
    }

    pub(super) fn query_mut(&mut self, slot: Slot) -> Option<&mut SentinelQuery> {
        match (slot, &mut self.joining, &mut self.at) {
            (Slot::Heartbeat, ..) => self.heartbeat.as_mut().map(|heartbeat| &mut heartbeat.query),
            (_, Joining::Asking(query) | Joining::Confirming(_, query), _) => Some(query),
            (.., At::Looking { query, .. }) => query.as_mut(),
            (.., At::Announcing { query, .. }) => Some(query),
            _ => None,
        }
    }
}

impl Process {
    pub(super) fn queries(&self) -> impl Iterator<Item = &SentinelQuery> {
        [Slot::Main, Slot::Heartbeat].into_iter().filter_map(|slot| self.query(slot))
    }

    pub(super) fn queries_mut(&mut self) -> impl Iterator<Item = &mut SentinelQuery> {
        let heartbeat = self.heartbeat.iter_mut().map(|heartbeat| &mut heartbeat.query);
        let joining = match &mut self.joining {
            Joining::Asking(query) | Joining::Confirming(_, query) => Some(query),
            _ => None,
        };
        let at = match &mut self.at {
            At::Looking { query, .. } => query.as_mut(),
            At::Announcing { query, .. } => Some(query),
            _ => None,
        };
        joining.or(at).into_iter().chain(heartbeat)
    }
}

impl World {
    /// The epoch whose master a query has named; the inner `None` if there is
    /// none.
    pub(super) fn answer(&self, query: &SentinelQuery) -> Option<Option<u8>> {
        if self.is(Broken::FirstAnswer) {
            let first = query.answers.iter().flatten().next();
            return first.map(|epoch| Some(*epoch)).or(query.is_over.then_some(None));
        }
        query.decision()
    }

    /// Whether a link counts, once that is known.
    fn counts(&self, s: &State, link: Link, query: Option<&SentinelQuery>) -> Option<bool> {
        let Some(query) = query else { return Some(true) };
        Some(match self.answer(query)? {
            Some(epoch) if self.is(Broken::EpochIgnored) => {
                s.of_epoch[usize::from(epoch)] == link.server
            }
            Some(epoch) => epoch == link.epoch,
            None => self.is(Broken::SilenceAgrees),
        })
    }

    /// Gives the connection up, with everything that uses it.
    pub(super) fn lose(&self, s: &mut State, p: usize) {
        let process = &mut s.processes[p];
        process.link = None;
        process.joining = Joining::Not;
        (process.near, process.pushed_floor, process.heartbeat) = (None, None, None);
        process.at = match &process.at {
            At::Announcing { .. } | At::Waiting => At::Waiting,
            At::Idle | At::Done => return,
            _ => return self.end(s, p, Last::NoAnswer),
        };
    }

    fn end(&self, s: &mut State, p: usize, last: Last) {
        let process = &mut s.processes[p];
        process.left -= 1;
        process.last = last;
        process.floor = 0;
        process.at = if process.left == 0 { At::Done } else { At::Idle };
    }

    pub(super) fn steps(&self, s: &State, p: usize, actions: &mut Vec<Action>) {
        let process = &s.processes[p];
        if process.at == At::Done {
            return;
        }
        if self.may_step(s, process) {
            actions.push(Action::Step(p));
        }
        if matches!(&process.at, At::Looking { found: None, .. })
            || matches!(&process.at, At::Announcing { is_dropped: false, .. })
        {
            actions.push(Action::Trip(p));
        }
        if self.roles[p] == Role::Bounded && process.link.is_some() {
            match &process.heartbeat {
                None if process.pushed_floor != Some(s.floor) => actions.push(Action::Heartbeat(p)),
                Some(heartbeat) if !heartbeat.is_answered => {
                    actions.push(Action::HeartbeatAnswered(p))
                }
                Some(heartbeat) if self.vouches(s, process, heartbeat).is_some() => {
                    actions.push(Action::Vouch(p));
                }
                _ => {}
            }
        }
        for slot in [Slot::Main, Slot::Heartbeat] {
            let Some(query) = process.query(slot) else { continue };
            if self.answer(query).is_some() {
                continue;
            }
            let open = (0..query.answers.len()).filter(|n| query.answers[*n].is_none());
            actions.extend(open.map(|n| Action::Vote(p, slot, n)));
            if s.silences > 0 {
                actions.push(Action::GiveUp(p, slot));
            }
        }
    }

    fn may_step(&self, s: &State, process: &Process) -> bool {
        match (&process.link, &process.joining, &process.at) {
            (None, Joining::Not | Joining::Named(_), _) => true,
            (None, Joining::Asking(query), _) => {
                self.is(Broken::UsedTooEarly) && query.answers.iter().any(Option::is_some)
                    || self.answer(query).is_some()
            }
            (None, Joining::Confirming(link, query), _) => {
                self.counts(s, *link, Some(query)).is_some() || self.is(Broken::UsedTooEarly)
            }
            (Some(link), _, At::Looking { query, found: Some(_) }) => {
                self.counts(s, *link, query.as_ref()).is_some()
            }
            (Some(link), _, At::Announcing { query, is_dropped: true }) => {
                self.counts(s, *link, Some(query)).is_some() || self.is(Broken::AnnouncedAnywhere)
            }
            (Some(_), _, At::Looking { .. } | At::Announcing { .. }) => false,
            _ => true,
        }
    }

    pub(super) fn step(&self, s: &mut State, p: usize) {
        let Some(link) = s.processes[p].link else { return self.join(s, p) };
        match std::mem::replace(&mut s.processes[p].at, At::Done) {
            At::Idle if self.roles[p] == Role::Writer => {
                s.db += 1;
                self.announce(s, p, link);
            }
            At::Waiting => self.announce(s, p, link),
            // It does not ask the sentinels, nor looks whether it is there.
            At::Idle if self.roles[p] == Role::Filler && s.processes[p].left == 2 => {
                self.lease(s, p, link);
            }
            At::Idle => self.look(s, p),
            At::Looking { query, found } => {
                self.judge(s, p, link, query.as_ref(), found.flatten());
            }
            At::Leased(token) => {
                let version = s.db;
                s.processes[p].at = At::Made(Fragment { version, token });
            }
            At::Made(fragment) => {
                let server = s.server(link);
                if server.is_master {
                    server.data.value = Some(fragment);
                }
                self.keep_near(s, p, fragment);
                self.end(s, p, Last::NoAnswer);
            }
            At::Announcing { query, .. } => self.announced(s, p, link, &query),
            At::Done => {}
        }
    }

    /// The next step of connecting.
    fn join(&self, s: &mut State, p: usize) {
        let joining = std::mem::replace(&mut s.processes[p].joining, Joining::Not);
        s.processes[p].joining = match joining {
            Joining::Not => Joining::Asking(SentinelQuery::default()),
            Joining::Asking(query) => {
                let first = query.answers.iter().flatten().next().copied();
                match self.answer(&query).flatten() {
                    Some(epoch) => Joining::Named(epoch),
                    None if self.is(Broken::UsedTooEarly) => {
                        first.map_or(Joining::Not, Joining::Named)
                    }
                    None => Joining::Not,
                }
            }
            Joining::Named(epoch) => {
                let server = s.of_epoch[usize::from(epoch)];
                let Server { is_master, identity, .. } = s.servers[server];
                let link = Link { server, epoch, identity };
                match is_master {
                    true => Joining::Confirming(link, SentinelQuery::default()),
                    false => Joining::Not,
                }
            }
            Joining::Confirming(link, query) => {
                let skips = self.is(Broken::UsedTooEarly);
                if skips || self.counts(s, link, Some(&query)) == Some(true) {
                    self.joined(s, p, link);
                }
                Joining::Not
            }
        };
    }

    /// Whether the data was made at another server, or before a failover.
    fn is_of_other(&self, fingerprint: Option<Fingerprint>, link: Link) -> bool {
        let Some((identity, epoch)) = fingerprint else { return false };
        identity != link.identity || epoch != link.epoch && !self.is(Broken::MarkWithoutEpoch)
    }

    /// The data of the server is dropped, unless it was made there.
    fn joined(&self, s: &mut State, p: usize, link: Link) {
        let is_of_other = self.is_of_other(s.servers[link.server].data.fingerprint, link);
        let server = s.server(link);
        if is_of_other {
            if !server.is_master {
                return;
            }
            (server.data.fingerprint, server.data.stamp) = (None, None);
        }
        s.processes[p].link = Some(link);
    }

    fn look(&self, s: &mut State, p: usize) {
        let process = &mut s.processes[p];
        let is_strict = self.roles[p] != Role::Bounded;
        if let (Some(near), Some(pushed_floor), false) =
            (process.near, process.pushed_floor, is_strict)
        {
            process.floor = pushed_floor;
            return self.serve(s, p, near);
        }
        let asks = is_strict || process.pushed_floor.is_none();
        process.floor = process.pushed_floor.filter(|_| !asks).unwrap_or(s.floor);
        let query = asks.then(SentinelQuery::default).filter(|_| !self.is(Broken::OldAnswer));
        process.at = At::Looking { query, found: None };
    }

    /// The master executes what a process has sent.
    pub(super) fn trip(&self, s: &mut State, p: usize) {
        let Some(link) = s.processes[p].link else { return };
        let Server { is_master, data, .. } = s.servers[link.server];
        match &mut s.processes[p].at {
            At::Looking { found, .. } => {
                if self.is_of_other(data.fingerprint, link) {
                    // The servers have changed.
                    return self.lose(s, p);
                }
                let holds =
                    |it: &Fragment| data.stamp == Some(it.token) && data.fingerprint.is_some();
                *found = Some(data.value.filter(holds));
            }
            At::Announcing { is_dropped, .. } if is_master => {
                *is_dropped = true;
                s.server(link).data.stamp = None;
            }
            // A replica refuses it.
            _ => self.lose(s, p),
        }
    }

    fn judge(
        &self,
        s: &mut State,
        p: usize,
        link: Link,
        query: Option<&SentinelQuery>,
        found: Option<Fragment>,
    ) {
        if self.counts(s, link, query) != Some(true) {
            s.processes[p].at = At::Looking { query: None, found: None };
            return self.lose(s, p);
        }
        match found {
            Some(fragment) => self.serve(s, p, fragment),
            None => self.lease(s, p, link),
        }
    }

    fn serve(&self, s: &mut State, p: usize, fragment: Fragment) {
        let floor = s.processes[p].floor;
        self.keep_near(s, p, fragment);
        let served = fragment.version;
        let last = if served < floor { Last::Stale { served, floor } } else { Last::Hit };
        self.end(s, p, last);
    }

    /// Stores it in memory, unless a push has dropped it meanwhile.
    fn keep_near(&self, s: &mut State, p: usize, fragment: Fragment) {
        let is_bounded = self.roles[p] == Role::Bounded;
        if let Some(link) = s.processes[p].link.filter(|_| is_bounded) {
            let is_current = s.server(link).data.stamp == Some(fragment.token);
            s.processes[p].near = is_current.then_some(fragment);
        }
    }

    fn lease(&self, s: &mut State, p: usize, link: Link) {
        let token = s.tokens + 1;
        let is_of_other = self.is_of_other(s.servers[link.server].data.fingerprint, link);
        let server = s.server(link);
        if !server.is_master || is_of_other {
            s.processes[p].at = At::Looking { query: None, found: None };
            return self.lose(s, p);
        }
        server.data.fingerprint = Some(link.fingerprint());
        let leased = *server.data.stamp.get_or_insert(token);
        s.tokens = s.tokens.max(leased);
        s.processes[p].at = At::Leased(leased);
    }

    fn announce(&self, s: &mut State, p: usize, link: Link) {
        let mut query = SentinelQuery::default();
        if self.is(Broken::AskedBeforeCommit) {
            query.answers = [Some(link.epoch); super::state::SENTINELS];
        }
        s.processes[p].at = At::Announcing { query, is_dropped: false };
    }

    fn announced(&self, s: &mut State, p: usize, link: Link, query: &SentinelQuery) {
        let counts = self.counts(s, link, Some(query)) == Some(true);
        if counts || self.is(Broken::AnnouncedAnywhere) {
            s.floor = s.db;
            s.has_moved |= link.epoch > 0;
            return self.end(s, p, Last::NoAnswer);
        }
        s.processes[p].at = At::Waiting;
        self.lose(s, p);
    }

    pub(super) fn heartbeat(&self, s: &mut State, p: usize) {
        let heartbeat =
            Heartbeat { query: SentinelQuery::default(), floor: s.floor, is_answered: false };
        s.processes[p].heartbeat = Some(heartbeat);
    }

    /// The master answers a heartbeat, after all earlier pushes.
    pub(super) fn heartbeat_answered(&self, s: &mut State, p: usize) {
        let Some(link) = s.processes[p].link else { return };
        let Server { is_master, data, .. } = s.servers[link.server];
        if !is_master {
            return self.lose(s, p);
        }
        let process = &mut s.processes[p];
        process.near = process.near.filter(|near| data.stamp == Some(near.token));
        process.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.is_answered = true);
    }

    fn vouches(&self, s: &State, process: &Process, heartbeat: &Heartbeat) -> Option<bool> {
        if self.is(Broken::HeartbeatUnconfirmed) {
            return Some(true);
        }
        self.counts(s, process.link?, Some(&heartbeat.query))
    }

    pub(super) fn vouch(&self, s: &mut State, p: usize) {
        let Some(heartbeat) = s.processes[p].heartbeat.take() else { return };
        match self.vouches(s, &s.processes[p], &heartbeat) {
            Some(true) => s.processes[p].pushed_floor = Some(heartbeat.floor),
            _ => self.lose(s, p),
        }
    }
}
