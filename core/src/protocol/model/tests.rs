use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::broken::Broken;
use super::names::Key;
use super::state::{At, Mishaps, State};
use super::world::{Action, Change, Role, World};
use Change::{Everything, Partial, Row, Table};
use Role::{Nested, Reader, Writer};

const STRICT: bool = true;
const BOUNDED: bool = false;

fn search(world: &World) -> (usize, Option<String>, Vec<&'static str>) {
    let began = Instant::now();
    let limit: usize = std::env::var("LIMIT").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000_000);
    let checker = world.clone().checker().threads(1).target_state_count(limit);
    let checker = checker
        .finish_when(HasDiscoveries::AnyOf(["never stale"].into_iter().collect()))
        .spawn_bfs()
        .join();
    let trace = checker.discovery("never stale").map(|path| {
        let steps = path.into_vec();
        steps.into_iter().map(|(state, action)| world.tell(&state, action)).collect::<String>()
    });
    let found: Vec<&str> = checker.discoveries().keys().copied().collect();
    println!(
        "{} states ({} generated), depth {}, {:?}, {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed(),
        found
    );
    (checker.unique_state_count(), trace, found)
}

impl World {
    fn tell(&self, before: &State, action: Option<Action>) -> String {
        match action {
            Some(Action::Run(t, n)) => match &before.threads[t].at {
                At::Sent(pipe, _) if !pipe.is_finished() => {
                    let cmd = &pipe.cmds[n];
                    format!("  t{t} {cmd:?}   server {:?}\n", before.server)
                }
                At::Sent(pipe, purpose) => format!("  t{t} takes {:?} for {purpose:?}\n", pipe.replies),
                at => format!("  t{t} goes on from {at:?}\n"),
            },
            Some(action) => format!("  {action:?}\n"),
            None => format!("  {before:?}\n"),
        }
    }
}

fn holds(world: &World) {
    let (_, trace, _) = search(world);
    assert!(trace.is_none(), "{}", trace.unwrap_or_default());
}

fn fails(world: World, broken: Broken) {
    let (_, trace, _) = search(&World { broken: Some(broken), ..world });
    if std::env::var("TRACE").is_ok() { println!("{}", trace.clone().unwrap_or_default()); }
    assert!(trace.is_some(), "{broken:?} was not found out");
}

fn losses(n: u8, keys: &[Key], world: World) -> World {
    let mishaps = Mishaps { losses: n, ..world.mishaps };
    World { losable: keys.to_vec(), mishaps, ..world }
}

const ID: Key = Key::Stamp(1);
const EVERY_KEY: &[Key] = &[Key::Registry, Key::Stamp(1), Key::Value(0)];

fn one_reader() -> World {
    World::new(&[STRICT], &[(0, Reader(0, 2)), (0, Writer(&[Row]))])
}

fn strict() -> World {
    World::new(&[STRICT, STRICT], &[(0, Reader(0, 1)), (1, Reader(0, 1)), (1, Writer(&[Row]))])
}

fn bounded() -> World {
    World::new(&[BOUNDED, BOUNDED], &[(0, Reader(0, 2)), (1, Reader(0, 1)), (1, Writer(&[Row]))])
}

/// All in one process.
fn threads() -> World {
    World::new(&[BOUNDED], &[(0, Reader(0, 2)), (0, Reader(0, 1)), (0, Writer(&[Row]))])
}

/// Fragments of two schemes in one process, a table and a row.
fn schemes() -> World {
    let threads = [(0, Reader(0, 3)), (0, Reader(1, 1)), (0, Writer(&[Table, Row]))];
    World { before: vec![0, 2], ..World::new(&[STRICT], &threads) }
}

/// Invalidations of a table and of a row race.
fn races() -> World {
    let threads = [(1, Reader(0, 1)), (0, Reader(0, 1)), (0, Reader(0,1)), (0, Writer(&[Table])), (0, Writer(&[Row]))];
    World { before: vec![0], ..World::new(&[BOUNDED, BOUNDED], &threads) }
}

fn nested() -> World {
    World::new(&[STRICT], &[(0, Nested(1)), (0, Reader(0, 1)), (0, Writer(&[Row]))])
}

fn two_nested() -> World {
    World::new(&[STRICT, STRICT], &[(0, Nested(1)), (0, Reader(0, 1)), (1, Writer(&[Row]))])
}

fn writers() -> World {
    World::new(&[BOUNDED, BOUNDED], &[(0, Reader(0, 2)), (0, Writer(&[Row])), (1, Writer(&[Row]))])
}

#[test]
fn h_one() { holds(&one_reader()); }
#[test]
fn h_strict() { holds(&strict()); }
#[test]
fn h_bounded() { holds(&bounded()); }
#[test]
fn h_threads() { holds(&threads()); }
#[test]
fn h_schemes() { holds(&schemes()); }
#[test]
fn h_races() { holds(&races()); }
#[test]
fn h_nested() { holds(&nested()); }
#[test]
fn h_two_nested() { holds(&two_nested()); }
#[test]
fn h_writers() { holds(&writers()); }
#[test]
fn h_losses() { holds(&losses(1, EVERY_KEY, strict())); }

#[test]
fn x_settled_without_scheme() { fails(schemes(), Broken::SettledWithoutScheme); }
#[test]
fn x_own_drops_unseen() { fails(nested(), Broken::OwnDropsUnseen); }
#[test]
fn x_unknown_epoch_kept() { fails(races(), Broken::UnknownEpochKept); }
#[test]
fn x_own_replies() { fails(writers(), Broken::OwnRepliesUnheard); }
#[test]
fn x_reused() { fails(strict(), Broken::ReusedTokens); }
#[test]
fn x_datafirst() { fails(strict(), Broken::DataFirst); }
#[test]
fn x_oldsnap() { fails(strict(), Broken::OldSnapshot); }
#[test]
fn x_schemesatstore() { fails(strict(), Broken::SchemesAtStore); }
#[test]
fn x_before() { fails(strict(), Broken::AnnouncedBeforeCommit); }
#[test]
fn x_oldschemes() { fails(strict(), Broken::OldSchemes); }
#[test]
fn x_looksbefore() { fails(nested(), Broken::LooksBefore); }
#[test]
fn x_missing() { fails(strict(), Broken::MissingEqual); }
#[test]
fn x_again() { fails(strict(), Broken::StampsWrittenAgain); }
#[test]
fn x_ownchange() { fails(threads(), Broken::OwnChangeKept); }
#[test]
fn x_heartbeat() { fails(bounded(), Broken::HeartbeatNotAwaited); }
#[test]
fn x_objects() { fails(bounded(), Broken::ObjectsAfterReads); }
#[test]
fn x_epochlast() { fails(losses(1, &[Key::Registry], World::new(&[STRICT, STRICT], &[(0, Reader(0, 1)), (1, Reader(0, 1)), (1, Writer(&[Row]))])), Broken::EpochLast); }
