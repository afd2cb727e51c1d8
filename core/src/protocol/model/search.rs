//! Runs searches, and reports what they have found.

use std::fmt::Write;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::broken::Broken;
use super::state::{At, State};
use super::transitions::{NEAR_HIT, NEVER_STALE, SHARED_HIT};
use super::world::{Action, World};

/// Searches a whole world. No lookup in it is ever stale, and there are hits.
pub(super) fn holds(world: World) {
    let (found, trace) = search(&world);
    assert!(trace.is_none(), "a lookup was stale:\n{}", trace.unwrap_or_default());
    let hit = if world.strict[0] { SHARED_HIT } else { NEAR_HIT };
    assert!(found.contains(&hit), "no lookup found anything: {found:?}");
}

/// Searches a world with a broken protocol. Some lookup in it is stale.
pub(super) fn fails(world: World, broken: Broken) {
    let (_, trace) = search(&World { broken: Some(broken), ..world });
    let Some(trace) = trace else { panic!("{broken:?} was not found out") };
    println!("{broken:?}:\n{trace}");
}

/// The result of a search, and the shortest trace to a stale lookup.
fn search(world: &World) -> (Vec<&'static str>, Option<String>) {
    let began = Instant::now();
    let stale = HasDiscoveries::AnyOf([NEVER_STALE].into_iter().collect());
    let checker = world.clone().checker().threads(1).finish_when(stale).spawn_bfs().join();
    let trace = checker.discovery(NEVER_STALE).map(|path| world.tell(path.into_vec()));
    let found: Vec<&'static str> = checker.discoveries().into_keys().collect();
    println!("{} states in {:.1?}, {found:?}", checker.unique_state_count(), began.elapsed());
    (found, trace)
}

impl World {
    fn tell(&self, steps: Vec<(State, Option<Action>)>) -> String {
        let mut text = String::new();
        let mut steps = steps.into_iter().peekable();
        while let Some((before, action)) = steps.next() {
            let after = steps.peek().map_or(&before, |(after, _)| after);
            let line = match action {
                Some(Action::Run(t, n)) => self.tell_run(&before, after, t, n),
                Some(action) => format!("{action:?}"),
                None => continue,
            };
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn tell_run(&self, before: &State, after: &State, t: usize, n: usize) -> String {
        let (process, role) = self.threads[t];
        let what = match &before.threads[t].at {
            At::Sent(pipe, _) => match pipe.open().next() {
                Some(_) => format!("{:?}", pipe.cmds[n]),
                None => format!("takes {:?}", pipe.replies),
            },
            At::Idle => format!("begins, db {} → {}", before.db, after.db),
            At::Made(filling) => {
                format!("made of {}, uncacheable: {}", filling.version, filling.uncacheable)
            }
            At::Checked(near) => format!("has seen {} in memory", near.version),
            At::Linked(session, _) => format!("uses connection {session}"),
            At::Waiting(version) => format!("announces {version} again"),
            At::Done => String::new(),
        };
        let mut told = format!("process {process}, {t} {role:?}: {what}");
        if let At::Done | At::Idle | At::Made(_) = &after.threads[t].at {
            let _ = write!(told, " → {:?}", after.threads[t].last);
        }
        if after.floor > before.floor {
            let _ = write!(told, " → {} is announced", after.floor);
        }
        told
    }
}
