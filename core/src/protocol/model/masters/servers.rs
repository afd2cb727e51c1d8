//! What sentinels and servers do.

use super::Broken;
use super::state::{Joining, State};
use super::world::{Action, World};

impl World {
    pub(super) fn happenings(&self, s: &State, actions: &mut Vec<Action>) {
        if s.promoting.is_some() {
            actions.push(Action::Adopt);
        } else if s.of_epoch.len() <= usize::from(self.failovers) {
            actions.extend((0..s.views.len()).map(Action::Promote));
        }
        let lags = |n: &usize| s.views.iter().any(|view| *view > s.views[*n]);
        actions.extend((0..s.views.len()).filter(lags).map(Action::Learn));
        for n in 0..s.servers.len() {
            let is_named = |view: &u8| s.of_epoch[usize::from(*view)] == n;
            let is_deposed = s.servers[n].is_master && !s.views.iter().all(is_named);
            // Who is just being promoted is no replica of anybody.
            let has_master = s.servers[1 - n].is_master;
            if is_deposed && has_master && !self.is_promoted(s, n) {
                actions.push(Action::Demote(n));
            }
            if !s.servers[n].is_master && s.servers[n].data != s.servers[1 - n].data {
                actions.push(Action::Copy(n));
            }
        }
    }

    fn is_promoted(&self, s: &State, n: usize) -> bool {
        s.promoting.is_some() && s.of_epoch.last() == Some(&n)
    }

    pub(super) fn happen(&self, s: &mut State, action: Action) {
        match action {
            Action::Promote(leader) => self.promote(s, leader),
            Action::Adopt => {
                if let Some(leader) = s.promoting.take() {
                    s.views[leader] = s.of_epoch.len() as u8 - 1;
                }
            }
            Action::Learn(n) => s.views[n] = s.views.iter().copied().max().unwrap_or(0),
            Action::Demote(n) => self.demote(s, n),
            Action::Copy(n) => s.servers[n].data = s.servers[1 - n].data,
            _ => {}
        }
    }

    /// A sentinel makes the other server than the one that it knows a master.
    /// Nobody has been told yet, itself included.
    fn promote(&self, s: &mut State, leader: usize) {
        let next = 1 - s.of_epoch[usize::from(s.views[leader])];
        s.promoting = Some(leader);
        s.of_epoch.push(next);
        let server = &mut s.servers[next];
        if !server.is_master {
            s.identities += 1;
            server.is_master = true;
            server.identity = s.identities;
        }
    }

    /// A deposed master is told, and takes what the other one has. Its
    /// connections are cut: Sentinel does both in one transaction.
    fn demote(&self, s: &mut State, n: usize) {
        s.servers[n].is_master = false;
        s.servers[n].data = s.servers[1 - n].data;
        for p in 0..s.processes.len() {
            let process = &s.processes[p];
            let joining = match &process.joining {
                Joining::Confirming(link, _) => Some(link),
                _ => None,
            };
            let is_cut = process.link.as_ref().or(joining).is_some_and(|link| link.server == n);
            if is_cut && !self.is(Broken::ConnectionsSurvive) {
                self.lose(s, p);
            }
        }
    }
}
