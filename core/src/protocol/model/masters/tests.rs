//! The searches.

use std::fmt::Write;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::Broken;
use super::world::Role::{Bounded, Filler, Strict, Writer};
use super::world::{HIT, MOVED, NEVER_STALE, World};

/// All states of a world, or those up to the first stale lookup; what was found.
fn search(world: &World) -> (Vec<&'static str>, Option<String>) {
    let began = Instant::now();
    let stale = HasDiscoveries::AnyOf([NEVER_STALE].into_iter().collect());
    let checker = world.clone().checker().threads(1).finish_when(stale).spawn_bfs().join();
    let trace = checker.discovery(NEVER_STALE).map(|path| {
        path.into_vec().into_iter().filter_map(|(_, action)| action).fold(
            String::new(),
            |mut text, action| {
                let _ = writeln!(text, "  {action:?}");
                text
            },
        )
    });
    let found: Vec<&'static str> = checker.discoveries().into_keys().collect();
    println!("{} states in {:.1?}, {found:?}", checker.unique_state_count(), began.elapsed());
    (found, trace)
}

fn holds(world: World) {
    let (found, trace) = search(&world);
    assert!(trace.is_none(), "a lookup was stale:\n{}", trace.unwrap_or_default());
    assert!(found.contains(&HIT) && found.contains(&MOVED), "{found:?}");
}

fn fails(world: World, broken: Broken) {
    let (_, trace) = search(&World { broken: Some(broken), ..world });
    let Some(trace) = trace else { panic!("{broken:?} was not found out") };
    println!("{broken:?}:\n{trace}");
}

/// One reads twice, another announces, in a failover.
fn strict() -> World {
    World::new(&[(Strict, 2), (Writer, 1)], 1)
}

fn bounded() -> World {
    World::new(&[(Bounded, 2), (Writer, 1)], 1)
}

/// One fills, another reads, a third announces.
fn three() -> World {
    World::new(&[(Strict, 1), (Strict, 1), (Writer, 1)], 1)
}

/// One fills, perhaps at a server that is not yet the master.
fn filled() -> World {
    World::new(&[(Filler, 2), (Writer, 1)], 1)
}

/// Back to the first master, which may never be told that it was none.
fn back() -> World {
    World { is_deposed: true, ..World::new(&[(Strict, 2), (Writer, 1)], 2) }
}

#[test]
fn strict_reads_are_never_stale() {
    holds(strict());
}

#[test]
fn memory_at_a_deposed_master_is_not_stale_beyond_the_bound() {
    holds(World { is_deposed: true, ..bounded() });
}

#[test]
#[ignore = "half a minute"]
fn memory_is_not_stale_beyond_the_bound() {
    holds(bounded());
}

#[test]
#[ignore = "minutes"]
fn among_three() {
    holds(three());
}

#[test]
fn fills_are_never_stale() {
    holds(filled());
}

#[test]
fn there_and_back_again() {
    holds(back());
}

#[test]
fn the_first_answer_is_not_enough() {
    fails(strict(), Broken::FirstAnswer);
}

#[test]
fn silence_is_no_answer() {
    fails(World { silences: 1, ..strict() }, Broken::SilenceAgrees);
}

#[test]
fn what_was_answered_before_a_lookup_is_too_old() {
    fails(strict(), Broken::OldAnswer);
}

#[test]
fn heartbeats_are_confirmed() {
    fails(World { is_deposed: true, ..bounded() }, Broken::HeartbeatUnconfirmed);
}

#[test]
fn those_who_announce_ask_too() {
    fails(strict(), Broken::AnnouncedAnywhere);
}

#[test]
fn an_answer_from_before_the_commit_is_too_old() {
    fails(strict(), Broken::AskedBeforeCommit);
}

#[test]
fn a_server_is_used_once_a_majority_has_named_it() {
    fails(filled(), Broken::UsedTooEarly);
}

#[test]
fn one_address_under_two_epochs_is_two_masters() {
    fails(back(), Broken::EpochIgnored);
}

#[test]
fn what_was_made_before_a_failover_is_of_another_master() {
    fails(back(), Broken::MarkWithoutEpoch);
}

#[test]
fn connections_end_when_a_server_is_made_a_replica() {
    fails(strict(), Broken::ConnectionsSurvive);
}
