//! One canonical form for states that differ only in names: tokens and objects
//! are numbered in the order in which they occur.

use super::names::Tok;
use super::near::{Near, Obj, Object};
use super::server::{Cmd, Rep, Server};
use super::state::{At, Lease, Next, Outer, Pipe, Process, Purpose, State, Thread, Value};

/// Tokens from here on keep their numbers: a broken protocol reuses them.
pub(super) const FIXED: Tok = 100;

type Visit<'a> = &'a mut dyn FnMut(&mut u8);

impl State {
    /// The canonical form of the state.
    pub(super) fn normalize(&mut self) {
        for n in 0..self.processes.len() {
            self.close_connections(n);
            self.collect(n);
        }
        let mut names = Vec::new();
        self.each_token(&mut |token| {
            if *token == 0 || *token >= FIXED {
                return;
            }
            let known = names.iter().position(|name| name == token);
            *token = 1 + known.unwrap_or_else(|| {
                names.push(*token);
                names.len() - 1
            }) as Tok;
        });
    }

    /// A token that does not occur yet.
    pub(super) fn new_token(&mut self) -> Tok {
        let mut highest = 0;
        self.each_token(&mut |token| {
            if *token < FIXED {
                highest = highest.max(*token);
            }
        });
        highest + 1
    }

    /// A connection ends with its session and its last user.
    fn close_connections(&mut self, n: usize) {
        let process = &mut self.processes[n];
        let threads = &self.threads;
        let link = process.link;
        process.connections.retain(|one| {
            let uses =
                |thread: &Thread| thread.process == n && thread.at.session() == Some(one.session);
            link == Some(one.session) || threads.iter().any(uses)
        });
    }

    /// Forgets the objects that nothing in a process refers to.
    fn collect(&mut self, n: usize) {
        let mut order: Vec<Obj> = Vec::new();
        let old = std::mem::take(&mut self.processes[n].near.objects);
        let mut rename = |obj: &mut Obj| {
            let place = order.iter().position(|known| known == obj).unwrap_or_else(|| {
                order.push(*obj);
                order.len() - 1
            });
            *obj = place as Obj;
        };
        self.processes[n].near.each_object(&mut rename);
        let own = self.threads.iter_mut().filter(|thread| thread.process == n);
        own.for_each(|thread| thread.each_object(&mut rename));
        self.processes[n].near.objects = renamed(&old, order);
    }

    fn each_token(&mut self, visit: Visit<'_>) {
        self.server.each_token(visit);
        self.saved.iter_mut().for_each(|saved| saved.each_token(visit));
        self.processes.iter_mut().for_each(|process| process.each_token(visit));
        self.threads.iter_mut().for_each(|thread| thread.at.each_token(visit));
    }
}

/// The objects that are in use in their new order, with those above them.
fn renamed(old: &[Object], mut order: Vec<Obj>) -> Vec<Object> {
    let mut objects = Vec::with_capacity(order.len());
    let mut next = 0;
    while let Some(obj) = order.get(next) {
        let mut object = old[usize::from(*obj)].clone();
        if let Some(parent) = object.parent {
            let place = order.iter().position(|known| *known == parent).unwrap_or_else(|| {
                order.push(parent);
                order.len() - 1
            });
            object.parent = Some(place as Obj);
        }
        objects.push(object);
        next += 1;
    }
    objects
}

impl Near {
    fn each_object(&mut self, visit: Visit<'_>) {
        visit(&mut self.everything);
        self.epoch.iter_mut().for_each(&mut *visit);
        self.stamps.iter_mut().flatten().for_each(&mut *visit);
        let fragments = self.fragments.iter_mut().flatten();
        fragments.flat_map(|fragment| &mut fragment.stamps).for_each(visit);
    }
}

impl Thread {
    fn each_object(&mut self, visit: Visit<'_>) {
        if let Some(Outer { stamps, .. }) = &mut self.outer {
            stamps.iter_mut().for_each(&mut *visit);
        }
        match &mut self.at {
            At::Checked(fragment)
            | At::Linked(_, Next::Revalidate(fragment) | Next::Lease(Some(fragment))) => {
                fragment.stamps.iter_mut().for_each(visit);
            }
            At::Made(filling) => filling.stamps.iter_mut().for_each(visit),
            At::Sent(_, purpose) => purpose.each_object(visit),
            At::Idle | At::Linked(..) | At::Waiting(_) | At::Done => {}
        }
    }
}

impl At {
    /// The session that it uses.
    pub(super) fn session(&self) -> Option<u8> {
        match self {
            At::Linked(session, _) => Some(*session),
            At::Sent(pipe, _) => Some(pipe.session),
            _ => None,
        }
    }

    fn each_token(&mut self, visit: Visit<'_>) {
        if let At::Sent(pipe, purpose) = self {
            pipe.each_token(visit);
            purpose.each_token(visit);
        }
    }
}

impl Purpose {
    fn each_object(&mut self, visit: Visit<'_>) {
        match self {
            Purpose::Lookup(look) => {
                let near = look.near.iter_mut().flat_map(|near| &mut near.stamps);
                near.for_each(&mut *visit);
                look.held.iter_mut().for_each(|held| visit(&mut held.obj));
                look.asked.iter_mut().for_each(&mut *visit);
                look.read.iter_mut().for_each(|(obj, _)| visit(obj));
                look.lease.iter_mut().for_each(|lease| lease.each_object(visit));
            }
            Purpose::Verify(lease, _) => lease.each_object(visit),
            Purpose::Store(filling) => filling.stamps.iter_mut().for_each(&mut *visit),
            Purpose::Sweep(_) | Purpose::Drop(..) => {}
        }
        if let Purpose::Verify(_, around) = self {
            around.iter_mut().for_each(visit);
        }
    }

    fn each_token(&mut self, visit: Visit<'_>) {
        match self {
            Purpose::Lookup(look) => {
                look.held
                    .iter_mut()
                    .filter_map(|held| held.made_under.as_mut())
                    .for_each(&mut *visit);
                look.read.iter_mut().filter_map(|(_, found)| found.as_mut()).for_each(&mut *visit);
                look.value.iter_mut().for_each(|value| value.each_token(visit));
                look.lease.iter_mut().for_each(|lease| lease.each_token(visit));
            }
            Purpose::Verify(lease, _) => lease.each_token(visit),
            Purpose::Sweep(sweep) => {
                sweep.known.0.iter_mut().for_each(&mut *visit);
                let replies = sweep.replies.iter_mut().flatten();
                replies.for_each(|reply| reply.each_token(visit));
            }
            Purpose::Store(_) | Purpose::Drop(..) => {}
        }
    }
}

impl Lease {
    fn each_object(&mut self, visit: Visit<'_>) {
        self.stamps.iter_mut().for_each(&mut *visit);
        self.table.iter_mut().for_each(|(_, _, obj)| visit(obj));
        self.plain.iter_mut().for_each(|(_, _, obj)| visit(obj));
    }

    fn each_token(&mut self, visit: Visit<'_>) {
        self.table.iter_mut().for_each(|(token, ..)| visit(token));
        self.plain.iter_mut().for_each(|(_, token, _)| visit(token));
    }
}

impl Pipe {
    fn each_token(&mut self, visit: Visit<'_>) {
        for cmd in &mut self.cmds {
            match cmd {
                Cmd::HSetNxEpoch(token) | Cmd::SetNx(_, token) | Cmd::SetStamp(_, token) => {
                    visit(token);
                }
                Cmd::SetValue(_, value) => value.each_token(visit),
                _ => {}
            }
        }
        self.replies.iter_mut().for_each(|reply| reply.each_token(visit));
    }
}

impl Rep {
    fn each_token(&mut self, visit: Visit<'_>) {
        match self {
            Rep::Token(Some(token)) | Rep::Fingerprinted(Some((token, _))) => visit(token),
            Rep::Value(Some(value)) => value.each_token(visit),
            Rep::Fields((Some(token), _)) => visit(token),
            _ => {}
        }
    }
}

impl Value {
    fn each_token(&mut self, visit: Visit<'_>) {
        visit(&mut self.all);
        visit(&mut self.epoch);
        self.stamps.iter_mut().flatten().for_each(visit);
    }
}

impl Server {
    fn each_token(&mut self, visit: Visit<'_>) {
        self.all.iter_mut().for_each(|(token, _)| visit(token));
        self.registry.0.iter_mut().for_each(&mut *visit);
        self.stamps.iter_mut().flatten().for_each(&mut *visit);
        self.values.iter_mut().flatten().for_each(|value| value.each_token(visit));
    }
}

impl Process {
    fn each_token(&mut self, visit: Visit<'_>) {
        let objects = self.near.objects.iter_mut();
        objects.filter_map(|object| object.token.as_mut()).for_each(&mut *visit);
        self.registry.0.iter_mut().for_each(visit);
    }
}
