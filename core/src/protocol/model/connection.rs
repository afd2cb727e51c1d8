//! The connection between a process and the store: pushes, heartbeats, breaks.

use super::broken::Broken;
use super::names::Key;
use super::server::{Push, Server};
use super::state::{At, Connection, Lookup, Pipe, Purpose, State, Thread};
use super::world::{Action, World};

impl World {
    /// What may happen in addition to the steps of threads.
    pub(super) fn faults(&self, s: &State, actions: &mut Vec<Action>) {
        let left = &s.left;
        for (n, process) in s.processes.iter().enumerate() {
            for connection in &process.connections {
                if !connection.queue.is_empty() {
                    actions.push(Action::Push(n, connection.session));
                }
            }
            match process.link {
                Some(_) if left.cuts > 0 => actions.push(Action::Cut(n)),
                Some(_) => {}
                None => actions.push(Action::Connect(n)),
            }
            if process.link.is_some() && left.given_up_links > 0 {
                actions.push(Action::GiveUpLink(n));
            }
            if process.has_to_unverify {
                actions.push(Action::Unverify(n));
            }
            let may_pause = process.trusted || process.pushed_floor < s.floor;
            if !self.strict[n] && may_pause && left.pauses > 0 {
                actions.push(Action::Pause(n));
            }
            if self.may_heartbeat(s, n) {
                actions.push(Action::Heartbeat(n));
            }
        }
        if left.give_ups > 0 {
            let leases =
                |at: &At| matches!(at, At::Sent(_, Purpose::Lookup(it)) if it.is_leasing());
            let given_up = (0..s.threads.len()).filter(|t| leases(&s.threads[*t].at));
            actions.extend(given_up.map(Action::GiveUp));
        }
        if left.overflows > 0 {
            let read = |n: usize| self.losable.iter().filter(move |key| s.has_read(n, **key));
            let processes = 0..s.processes.len();
            actions
                .extend(processes.flat_map(|n| read(n).map(move |key| Action::Overflow(n, *key))));
        }
        if left.losses > 0 {
            let there = self.losable.iter().filter(|key| s.server.has(**key));
            actions.extend(there.map(|key| Action::Lose(*key)));
        }
        if left.flushes > 0 && s.server != Server::default() {
            actions.push(Action::Flush);
        }
        if left.rollbacks > 0 {
            match &s.saved {
                None => actions.push(Action::Save),
                Some(saved) if *saved != s.server => actions.push(Action::GoBack),
                Some(_) => {}
            }
        }
    }

    /// Whether a heartbeat would change anything.
    fn may_heartbeat(&self, s: &State, n: usize) -> bool {
        let process = &s.processes[n];
        let Some(link) = process.link.filter(|_| !self.strict[n]) else { return false };
        let has_pushes =
            process.connections.iter().any(|it| it.session == link && !it.queue.is_empty());
        has_pushes || process.pushed_floor < s.floor || !process.trusted
    }

    pub(super) fn apply_fault(&self, s: &mut State, action: &Action) {
        match *action {
            Action::Run(..) => {}
            Action::Push(n, session) => self.deliver_push(s, n, session),
            Action::Heartbeat(n) => self.heartbeat(s, n),
            Action::Pause(n) => {
                s.left.pauses -= 1;
                s.processes[n].trusted = false;
                // The earlier announcements are now older than
                // the bound.
                s.processes[n].pushed_floor = s.floor;
            }
            Action::Cut(n) => {
                s.left.cuts -= 1;
                self.cut(s, n);
            }
            Action::GiveUpLink(n) => {
                s.left.given_up_links -= 1;
                self.give_up_link(s, n);
            }
            Action::Unverify(n) => self.unverify(s, n),
            Action::Connect(n) => self.connect(s, n),
            Action::Lose(key) => {
                s.left.losses -= 1;
                let epoch = s.server.registry.0;
                s.remove(key);
                if self.is(Broken::EpochOutlivesSchemes) && key == Key::Registry {
                    s.server.registry.0 = epoch;
                }
            }
            Action::Overflow(n, key) => {
                s.left.overflows -= 1;
                self.overflow(s, n, key);
            }
            Action::Flush => {
                s.left.flushes -= 1;
                s.flush();
            }
            Action::GiveUp(t) => {
                s.left.give_ups -= 1;
                self.give_up(s, t);
            }
            Action::Save => s.saved = Some(s.server.clone()),
            Action::GoBack => self.go_back(s),
        }
    }

    /// The caller gives a lookup up. Its commands are still executed, and
    /// nobody processes the replies.
    fn give_up(&self, s: &mut State, t: usize) {
        let n = s.threads[t].process;
        let sent = |thread: &Thread| thread.process == n && matches!(thread.at, At::Sent(..));
        let bits = (0..s.threads.len()).filter(|t| sent(&s.threads[*t])).map(|t| 1 << t);
        let bits = bits.fold(0, |all, bit: u8| all | bit);
        let thread = &mut s.threads[t];
        let At::Sent(_, Purpose::Lookup(look)) = &mut thread.at else { return };
        look.given_up = Some(bits);
    }

    /// The tracking table of the store is full. The store drops an entry, and
    /// pushes this to the process.
    fn overflow(&self, s: &mut State, n: usize, key: Key) {
        for connection in &mut s.processes[n].connections {
            if self.is(Broken::ForgetsUnsaid) {
                connection.tracks &= !key.bit();
            }
            connection.forget(key);
        }
    }

    /// Whether the commands of a thread follow a lookup that was given up.
    pub(super) fn is_behind(&self, s: &State, t: usize) -> bool {
        s.threads.iter().any(|thread| match &thread.at {
            At::Sent(pipe, Purpose::Lookup(Lookup { given_up: Some(before), .. })) => {
                thread.process == s.threads[t].process
                    && !pipe.is_finished()
                    && before & (1 << t) == 0
            }
            _ => false,
        })
    }

    /// The commands of a thread from now on follow everything that was given
    /// up.
    pub(super) fn fall_behind(&self, s: &mut State, t: usize) {
        for thread in &mut s.threads {
            if let At::Sent(_, Purpose::Lookup(Lookup { given_up: Some(before), .. })) =
                &mut thread.at
            {
                *before &= !(1 << t);
            }
        }
    }

    /// Receives one push.
    fn deliver_push(&self, s: &mut State, n: usize, session: u8) {
        let process = &mut s.processes[n];
        let Some(connection) = process.connections.iter_mut().find(|it| it.session == session)
        else {
            return;
        };
        match connection.queue.remove(0) {
            Push::Changed(key) => process.near.key_changed(key),
            Push::AllChanged => process.near.replace_everything(),
        }
        for thread in s.threads.iter_mut().filter(|thread| thread.process == n) {
            if let At::Sent(Pipe { session: of, after, .. }, _) = &mut thread.at
                && *of == session
            {
                *after = after.saturating_sub(1);
            }
        }
    }

    /// All processes receive all pushes.
    pub(super) fn deliver_all_pushes(&self, s: &mut State) {
        for n in 0..s.processes.len() {
            while let Some(it) = s.processes[n].connections.iter().find(|it| !it.queue.is_empty()) {
                self.deliver_push(s, n, it.session);
            }
        }
    }

    /// A heartbeat is answered, so all pushes up to now have been received.
    fn heartbeat(&self, s: &mut State, n: usize) {
        let Some(session) = s.processes[n].link else { return };
        let has_pushes = |s: &State| {
            let of_line = |it: &&Connection| it.session == session;
            s.processes[n].connections.iter().find(of_line).is_some_and(|it| !it.queue.is_empty())
        };
        while !self.is(Broken::HeartbeatNotAwaited) && has_pushes(s) {
            self.deliver_push(s, n, session);
        }
        s.processes[n].pushed_floor = s.floor;
        s.processes[n].trusted = true;
    }

    /// The connection ends, and the process notices.
    fn cut(&self, s: &mut State, n: usize) {
        let process = &mut s.processes[n];
        let link = process.link;
        process.connections.retain(|it| Some(it.session) != link);
        if let Some(session) = link {
            self.disconnect_process(s, n, session);
        }
    }

    /// The process gives up a connection that works.
    fn give_up_link(&self, s: &mut State, n: usize) {
        if let Some(session) = s.processes[n].link {
            self.disconnect_process(s, n, session);
        }
    }

    /// A thread gives the connection up.
    pub(super) fn disconnect(&self, s: &mut State, t: usize, session: u8) {
        self.disconnect_process(s, s.threads[t].process, session);
    }

    fn disconnect_process(&self, s: &mut State, n: usize, session: u8) {
        let process = &mut s.processes[n];
        if process.link == Some(session) {
            process.link = None;
            if !self.is(Broken::KeptAcrossBreak) {
                process.trusted = false;
                process.has_to_unverify = true;
            }
        }
    }

    fn unverify(&self, s: &mut State, n: usize) {
        s.processes[n].has_to_unverify = false;
        s.processes[n].near.replace_everything();
    }

    /// Connects again: checks whether the store is the same, and trusts
    /// nothing from before.
    fn connect(&self, s: &mut State, n: usize) {
        let is_known = s.server.all.is_none_or(|(_, fingerprint)| fingerprint == s.identity);
        let is_other = s.processes[n].identity != s.identity || !is_known;
        if is_other && !self.is(Broken::GoesBackUnnoticed) {
            s.remove(Key::All);
        }
        let (floor, identity) = (s.floor, s.identity);
        let process = &mut s.processes[n];
        let session = process.near.session + 1;
        process.identity = identity;
        process.link = Some(session);
        process.connections.push(Connection { session, tracks: 0, queue: Vec::new() });
        if self.is(Broken::KeptAcrossBreak) {
            process.near.session = session;
            let everything = usize::from(process.near.everything);
            process.near.objects[everything].session = session;
        } else {
            process.near.begin_session(session);
        }
        process.pushed_floor = floor;
        process.trusted = true;
        process.has_to_unverify = false;
    }

    /// The store goes back in time, as another server.
    fn go_back(&self, s: &mut State) {
        s.left.rollbacks -= 1;
        if let Some(saved) = s.saved.take() {
            s.server = saved;
        }
        s.identity += 1;
        for n in 0..s.processes.len() {
            s.processes[n].connections.clear();
            if let Some(session) = s.processes[n].link {
                self.disconnect_process(s, n, session);
            }
        }
    }
}

impl State {
    /// Whether the store remembers that a process has read a key.
    fn has_read(&self, n: usize, key: Key) -> bool {
        self.processes[n].connections.iter().any(|it| it.tracks & key.bit() != 0)
    }
}

impl Server {
    pub(super) fn has(&self, key: Key) -> bool {
        match key {
            Key::All => self.all.is_some(),
            Key::Registry => self.registry != (None, 0),
            Key::Stamp(n) => self.stamps[usize::from(n)].is_some(),
            Key::Value(n) => self.values[usize::from(n)].is_some(),
        }
    }
}
