//! What processes do: connecting, lookups, fills, announcements, heartbeats.

use super::Broken;
use super::state::{
    At, Beat, Fragment, Joining, Last, Link, Mark, Process, Question, Server, State,
};
use super::world::{Action, Role, Slot, World};

impl Process {
    pub(super) fn question(&self, slot: Slot) -> Option<&Question> {
        match (slot, &self.joining, &self.at) {
            (Slot::Beat, ..) => self.beat.as_ref().map(|beat| &beat.question),
            (_, Joining::Asking(question) | Joining::Confirming(_, question), _) => Some(question),
            (.., At::Looking { question, .. }) => question.as_ref(),
            (.., At::Announcing { question, .. }) => Some(question),
            _ => None,
        }
    }

    pub(super) fn question_mut(&mut self, slot: Slot) -> Option<&mut Question> {
        match (slot, &mut self.joining, &mut self.at) {
            (Slot::Beat, ..) => self.beat.as_mut().map(|beat| &mut beat.question),
            (_, Joining::Asking(question) | Joining::Confirming(_, question), _) => Some(question),
            (.., At::Looking { question, .. }) => question.as_mut(),
            (.., At::Announcing { question, .. }) => Some(question),
            _ => None,
        }
    }
}

impl Process {
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        [Slot::Main, Slot::Beat].into_iter().filter_map(|slot| self.question(slot))
    }

    pub(super) fn questions_mut(&mut self) -> impl Iterator<Item = &mut Question> {
        let beat = self.beat.iter_mut().map(|beat| &mut beat.question);
        let joining = match &mut self.joining {
            Joining::Asking(question) | Joining::Confirming(_, question) => Some(question),
            _ => None,
        };
        let at = match &mut self.at {
            At::Looking { question, .. } => question.as_mut(),
            At::Announcing { question, .. } => Some(question),
            _ => None,
        };
        joining.or(at).into_iter().chain(beat)
    }
}

impl World {
    /// Which epoch's master a question has come to name; `None` inside if none.
    pub(super) fn answer(&self, question: &Question) -> Option<Option<u8>> {
        if self.is(Broken::FirstAnswer) {
            let first = question.told.iter().flatten().next();
            return first.map(|epoch| Some(*epoch)).or(question.is_over.then_some(None));
        }
        question.decision()
    }

    /// Whether a link counts, once that is known.
    fn counts(&self, s: &State, link: Link, question: Option<&Question>) -> Option<bool> {
        let Some(question) = question else { return Some(true) };
        Some(match self.answer(question)? {
            Some(epoch) if self.is(Broken::EpochIgnored) => {
                s.of_epoch[usize::from(epoch)] == link.server
            }
            Some(epoch) => epoch == link.epoch,
            None => self.is(Broken::SilenceAgrees),
        })
    }

    /// Gives the link up, with all that goes by it.
    pub(super) fn lose(&self, s: &mut State, p: usize) {
        let process = &mut s.processes[p];
        process.link = None;
        process.joining = Joining::Not;
        (process.near, process.heard, process.beat) = (None, None, None);
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
            match &process.beat {
                None if process.heard != Some(s.floor) => actions.push(Action::Beat(p)),
                Some(beat) if !beat.is_answered => actions.push(Action::Heard(p)),
                Some(beat) if self.vouches(s, process, beat).is_some() => {
                    actions.push(Action::Vouch(p));
                }
                _ => {}
            }
        }
        for slot in [Slot::Main, Slot::Beat] {
            let Some(question) = process.question(slot) else { continue };
            if self.answer(question).is_some() {
                continue;
            }
            let open = (0..question.told.len()).filter(|n| question.told[*n].is_none());
            actions.extend(open.map(|n| Action::Vote(p, slot, n)));
            if s.silences > 0 {
                actions.push(Action::GiveUp(p, slot));
            }
        }
    }

    fn may_step(&self, s: &State, process: &Process) -> bool {
        match (&process.link, &process.joining, &process.at) {
            (None, Joining::Not | Joining::Named(_), _) => true,
            (None, Joining::Asking(question), _) => {
                self.is(Broken::UsedTooEarly) && question.told.iter().any(Option::is_some)
                    || self.answer(question).is_some()
            }
            (None, Joining::Confirming(link, question), _) => {
                self.counts(s, *link, Some(question)).is_some() || self.is(Broken::UsedTooEarly)
            }
            (Some(link), _, At::Looking { question, found: Some(_) }) => {
                self.counts(s, *link, question.as_ref()).is_some()
            }
            (Some(link), _, At::Announcing { question, is_dropped: true }) => {
                self.counts(s, *link, Some(question)).is_some()
                    || self.is(Broken::AnnouncedAnywhere)
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
            At::Looking { question, found } => {
                self.judge(s, p, link, question.as_ref(), found.flatten());
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
            At::Announcing { question, .. } => self.announced(s, p, link, &question),
            At::Done => {}
        }
    }

    /// The next step of connecting.
    fn join(&self, s: &mut State, p: usize) {
        let joining = std::mem::replace(&mut s.processes[p].joining, Joining::Not);
        s.processes[p].joining = match joining {
            Joining::Not => Joining::Asking(Question::default()),
            Joining::Asking(question) => {
                let first = question.told.iter().flatten().next().copied();
                match self.answer(&question).flatten() {
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
                    true => Joining::Confirming(link, Question::default()),
                    false => Joining::Not,
                }
            }
            Joining::Confirming(link, question) => {
                let skips = self.is(Broken::UsedTooEarly);
                if skips || self.counts(s, link, Some(&question)) == Some(true) {
                    self.joined(s, p, link);
                }
                Joining::Not
            }
        };
    }

    /// Whether what is there was made at another server, or before a failover.
    fn is_of_other(&self, mark: Option<Mark>, link: Link) -> bool {
        let Some((identity, epoch)) = mark else { return false };
        identity != link.identity || epoch != link.epoch && !self.is(Broken::MarkWithoutEpoch)
    }

    /// What the server holds is dropped, unless it was made there.
    fn joined(&self, s: &mut State, p: usize, link: Link) {
        let is_of_other = self.is_of_other(s.servers[link.server].data.mark, link);
        let server = s.server(link);
        if is_of_other {
            if !server.is_master {
                return;
            }
            (server.data.mark, server.data.stamp) = (None, None);
        }
        s.processes[p].link = Some(link);
    }

    fn look(&self, s: &mut State, p: usize) {
        let process = &mut s.processes[p];
        let is_strict = self.roles[p] != Role::Bounded;
        if let (Some(near), Some(heard), false) = (process.near, process.heard, is_strict) {
            process.floor = heard;
            return self.serve(s, p, near);
        }
        let asks = is_strict || process.heard.is_none();
        process.floor = process.heard.filter(|_| !asks).unwrap_or(s.floor);
        let question = asks.then(Question::default).filter(|_| !self.is(Broken::OldAnswer));
        process.at = At::Looking { question, found: None };
    }

    /// The master carries out what a process has sent.
    pub(super) fn trip(&self, s: &mut State, p: usize) {
        let Some(link) = s.processes[p].link else { return };
        let Server { is_master, data, .. } = s.servers[link.server];
        match &mut s.processes[p].at {
            At::Looking { found, .. } => {
                if self.is_of_other(data.mark, link) {
                    // The servers have changed.
                    return self.lose(s, p);
                }
                let holds = |it: &Fragment| data.stamp == Some(it.token) && data.mark.is_some();
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
        question: Option<&Question>,
        found: Option<Fragment>,
    ) {
        if self.counts(s, link, question) != Some(true) {
            s.processes[p].at = At::Looking { question: None, found: None };
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

    /// Keeps it in memory, unless news have met it on the way.
    fn keep_near(&self, s: &mut State, p: usize, fragment: Fragment) {
        let is_bounded = self.roles[p] == Role::Bounded;
        if let Some(link) = s.processes[p].link.filter(|_| is_bounded) {
            let is_current = s.server(link).data.stamp == Some(fragment.token);
            s.processes[p].near = is_current.then_some(fragment);
        }
    }

    fn lease(&self, s: &mut State, p: usize, link: Link) {
        let token = s.tokens + 1;
        let is_of_other = self.is_of_other(s.servers[link.server].data.mark, link);
        let server = s.server(link);
        if !server.is_master || is_of_other {
            s.processes[p].at = At::Looking { question: None, found: None };
            return self.lose(s, p);
        }
        server.data.mark = Some(link.mark());
        let leased = *server.data.stamp.get_or_insert(token);
        s.tokens = s.tokens.max(leased);
        s.processes[p].at = At::Leased(leased);
    }

    fn announce(&self, s: &mut State, p: usize, link: Link) {
        let mut question = Question::default();
        if self.is(Broken::AskedBeforeCommit) {
            question.told = [Some(link.epoch); super::state::SENTINELS];
        }
        s.processes[p].at = At::Announcing { question, is_dropped: false };
    }

    fn announced(&self, s: &mut State, p: usize, link: Link, question: &Question) {
        let counts = self.counts(s, link, Some(question)) == Some(true);
        if counts || self.is(Broken::AnnouncedAnywhere) {
            s.floor = s.db;
            s.has_moved |= link.epoch > 0;
            return self.end(s, p, Last::NoAnswer);
        }
        s.processes[p].at = At::Waiting;
        self.lose(s, p);
    }

    pub(super) fn beat(&self, s: &mut State, p: usize) {
        let beat = Beat { question: Question::default(), floor: s.floor, is_answered: false };
        s.processes[p].beat = Some(beat);
    }

    /// The master answers a heartbeat, after all news of before.
    pub(super) fn heard(&self, s: &mut State, p: usize) {
        let Some(link) = s.processes[p].link else { return };
        let Server { is_master, data, .. } = s.servers[link.server];
        if !is_master {
            return self.lose(s, p);
        }
        let process = &mut s.processes[p];
        process.near = process.near.filter(|near| data.stamp == Some(near.token));
        process.beat.iter_mut().for_each(|beat| beat.is_answered = true);
    }

    fn vouches(&self, s: &State, process: &Process, beat: &Beat) -> Option<bool> {
        if self.is(Broken::HeartbeatUnconfirmed) {
            return Some(true);
        }
        self.counts(s, process.link?, Some(&beat.question))
    }

    pub(super) fn vouch(&self, s: &mut State, p: usize) {
        let Some(beat) = s.processes[p].beat.take() else { return };
        match self.vouches(s, &s.processes[p], &beat) {
            Some(true) => s.processes[p].heard = Some(beat.floor),
            _ => self.lose(s, p),
        }
    }
}
