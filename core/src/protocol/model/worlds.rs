//! The worlds to search: small ones, each for one kind of fault.

use super::names::Key;
use super::state::Faults;
use super::world::Change::{Everything, Partial, Row, Table};
use super::world::Role::{Nested, Reader, Writer};
use super::world::{Role, World};

const STRICT: bool = true;
const BOUNDED: bool = false;

/// The fragment of a row, and that of a list.
const OF_ROW: u8 = 0;
const LIST: u8 = 1;

fn losing(keys: &[Key], world: World) -> World {
    let faults = Faults { losses: 1, ..world.faults };
    World { losable: keys.to_vec(), faults, ..world }
}

fn with(faults: Faults, world: World) -> World {
    World { faults, ..world }
}

fn alone(mode: bool, threads: &[Role]) -> World {
    let threads: Vec<_> = threads.iter().map(|role| (0, *role)).collect();
    World::new(&[mode], &threads)
}

fn two(mode: bool, threads: &[(usize, Role)]) -> World {
    World::new(&[mode, mode], threads)
}

/// A fragment is filled in one process, looked up in another, and changed.
pub(super) fn strict() -> World {
    two(STRICT, &[(0, Reader(OF_ROW, 1)), (1, Reader(OF_ROW, 1)), (1, Writer(&[Row]))])
}

/// The same with prefetched values, as for the next fragments of a page.
pub(super) fn strict_ahead() -> World {
    World { prefetches: true, ..strict() }
}

/// A change while a fragment is filled.
pub(super) fn one_reader() -> World {
    two(STRICT, &[(0, Reader(OF_ROW, 2)), (1, Writer(&[Row]))])
}

/// A change while a fragment is looked up that another process has stored.
pub(super) fn stored() -> World {
    let threads = [(1, Reader(OF_ROW, 1)), (0, Reader(OF_ROW, 2)), (1, Writer(&[Row]))];
    World { before: vec![0], ..two(BOUNDED, &threads) }
}

/// The same with prefetched values.
pub(super) fn stored_ahead() -> World {
    World { prefetches: true, ..stored() }
}

/// The same in memory, where the pushes of the change have to arrive.
pub(super) fn bounded() -> World {
    two(BOUNDED, &[(0, Reader(OF_ROW, 2)), (1, Writer(&[Row]))])
}

/// The same with a second process that reads.
pub(super) fn bounded_readers() -> World {
    two(BOUNDED, &[(0, Reader(OF_ROW, 2)), (1, Reader(OF_ROW, 1)), (1, Writer(&[Row]))])
}

/// The same with prefetched values.
pub(super) fn bounded_ahead() -> World {
    World { prefetches: true, ..bounded_readers() }
}

/// All in one process, which receives the push late for a table that it drops
/// itself.
pub(super) fn own_table() -> World {
    alone(BOUNDED, &[Reader(OF_ROW, 2), Writer(&[Table])])
}

/// All in one process, which receives pushes for its own changes.
pub(super) fn threads() -> World {
    alone(BOUNDED, &[Reader(OF_ROW, 2), Reader(OF_ROW, 1), Writer(&[Row])])
}

/// The store forgets that a process has read a key.
pub(super) fn overflows() -> World {
    let world = with(Faults { overflows: 1, ..Faults::default() }, bounded());
    World { losable: vec![Key::Registry, Key::Stamp(1)], ..world }
}

/// A table is dropped while a fragment is filled in another process.
pub(super) fn tables() -> World {
    two(BOUNDED, &[(0, Reader(OF_ROW, 2)), (1, Writer(&[Table]))])
}

/// Both processes change the row. What one of them does removes the tracking that
/// the other relies on.
pub(super) fn writers() -> World {
    two(BOUNDED, &[(0, Reader(OF_ROW, 2)), (0, Writer(&[Row])), (1, Writer(&[Row]))])
}

/// A fragment was stored, then its table was dropped; a list of the table has
/// a scheme of its own.
pub(super) fn schemes() -> World {
    let threads = [Reader(OF_ROW, 3), Reader(LIST, 1), Writer(&[Table, Row])];
    World { before: vec![0, 2], ..alone(STRICT, &threads) }
}

/// The same in another process, which prefetches a value that is not current.
pub(super) fn schemes_ahead() -> World {
    let threads = [
        (1, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 2)),
        (0, Reader(LIST, 1)),
        (1, Writer(&[Table, Row])),
    ];
    World { before: vec![0, 3], prefetches: true, ..two(STRICT, &threads) }
}

/// Invalidations of a table and of a row race in a process that looks up what
/// another has stored.
pub(super) fn races() -> World {
    let threads = [
        (1, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 1)),
        (0, Writer(&[Table])),
        (0, Writer(&[Row])),
    ];
    World { before: vec![0], ..two(BOUNDED, &threads) }
}

/// The same with one thread that looks up.
pub(super) fn short_races() -> World {
    let threads = [
        (1, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 2)),
        (0, Writer(&[Table])),
        (0, Writer(&[Row])),
    ];
    World { before: vec![0], ..two(BOUNDED, &threads) }
}

/// A list has read its row, and passes it to a fragment of the row.
pub(super) fn nested() -> World {
    let threads = [Nested(1), Reader(OF_ROW, 1), Writer(&[Row])];
    World { inside: vec![0], ..alone(STRICT, &threads) }
}

/// The same while another process changes the row.
pub(super) fn nested_elsewhere() -> World {
    let threads = [(0, Nested(1)), (0, Reader(OF_ROW, 1)), (1, Writer(&[Row]))];
    World { inside: vec![0], ..two(STRICT, &threads) }
}

/// The same in a cluster, where nothing happens in one step.
pub(super) fn nested_in_cluster() -> World {
    World { is_cluster: true, ..nested_elsewhere() }
}

/// The same, starting when the fill of the row is about to register, and the
/// sweep has read what is registered.
pub(super) fn nested_in_cluster_ahead() -> World {
    World { ahead: vec![(0, 2), (2, 3)], ..nested_in_cluster() }
}

pub(super) fn cluster() -> World {
    World { is_cluster: true, ..strict() }
}

/// Any key may be lost at any moment.
pub(super) fn losses() -> World {
    losing(&[Key::Registry, Key::Stamp(1), Key::Value(OF_ROW)], strict())
}

/// The registry may be lost while a fill registers in it.
pub(super) fn lost_registry() -> World {
    let threads = [(0, Reader(OF_ROW, 2)), (1, Writer(&[Row]))];
    losing(&[Key::Registry], two(BOUNDED, &threads))
}

/// The same while another fragment of the table begins another registry.
pub(super) fn lost_registries() -> World {
    let threads = [(0, Reader(OF_ROW, 2)), (1, Reader(LIST, 1)), (1, Writer(&[Row]))];
    losing(&[Key::Registry], two(STRICT, &threads))
}

/// The same, from when the one has registered and the other is about to.
pub(super) fn lost_registries_ahead() -> World {
    World { ahead: vec![(0, 4), (1, 1)], ..lost_registries() }
}

/// A process fills again what it has filled before.
pub(super) fn filled_again() -> World {
    let threads = [
        (0, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 1)),
        (1, Reader(OF_ROW, 1)),
        (1, Writer(&[Row])),
    ];
    World { before: vec![0], ..two(STRICT, &threads) }
}

/// The store goes back in time, as another server.
pub(super) fn going_back() -> World {
    let threads = [(0, Reader(OF_ROW, 2)), (1, Writer(&[Row]))];
    let faults = Faults { rollbacks: 1, ..Faults::default() };
    with(faults, World { before: vec![0], ..two(STRICT, &threads) })
}

/// A connection breaks, and the time passes that pushes may take.
pub(super) fn cut() -> World {
    let threads = [(0, Reader(OF_ROW, 3)), (1, Writer(&[Row]))];
    let faults = Faults { cuts: 1, pauses: 1, ..Faults::default() };
    with(faults, World { before: vec![0], ..two(BOUNDED, &threads) })
}

/// A process gives up a connection that works and that some of its threads still
/// use.
pub(super) fn given_up() -> World {
    let threads = [
        (1, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 1)),
        (1, Writer(&[Row])),
    ];
    let faults = Faults { given_up_links: 1, ..Faults::default() };
    let world = World { before: vec![0], slow_links: true, ..two(BOUNDED, &threads) };
    with(faults, world)
}

/// A lookup of a list is given up. Meanwhile its table is dropped, and another
/// fragment of the table is filled.
pub(super) fn lookups_given_up() -> World {
    let threads = [(0, Reader(OF_ROW, 3)), (0, Reader(LIST, 1)), (1, Writer(&[Table]))];
    let faults = Faults { give_ups: 1, ..Faults::default() };
    with(faults, World { before: vec![0], ..two(BOUNDED, &threads) })
}

/// All keys go at once.
pub(super) fn flushed() -> World {
    let threads = [(0, Reader(OF_ROW, 3)), (1, Writer(&[Row]))];
    let faults = Faults { flushes: 1, ..Faults::default() };
    with(faults, World { before: vec![0], ..two(BOUNDED, &threads) })
}

/// Everything is invalidated.
pub(super) fn everything() -> World {
    let threads = [(1, Reader(OF_ROW, 1)), (0, Reader(OF_ROW, 2)), (1, Writer(&[Everything]))];
    World { before: vec![0], ..two(BOUNDED, &threads) }
}

/// A row is invalidated that lacks a column, which drops the table.
pub(super) fn partial() -> World {
    let threads = [(0, Reader(OF_ROW, 2)), (1, Writer(&[Partial, Row]))];
    two(BOUNDED, &threads)
}

/// More of everything: takes minutes.
pub(super) fn wide() -> World {
    let threads = [
        (1, Reader(OF_ROW, 1)),
        (0, Reader(OF_ROW, 2)),
        (0, Reader(LIST, 1)),
        (0, Writer(&[Row])),
        (1, Writer(&[Table])),
    ];
    World { before: vec![0], ..two(BOUNDED, &threads) }
}

/// Losses and a broken connection, in memory and over two writers.
pub(super) fn wide_faults() -> World {
    let threads = [(0, Reader(OF_ROW, 3)), (0, Writer(&[Row])), (1, Writer(&[Table, Row]))];
    let faults = Faults { cuts: 1, pauses: 1, ..Faults::default() };
    let world = with(faults, World { before: vec![0], ..two(BOUNDED, &threads) });
    losing(&[Key::Registry, Key::Stamp(1)], world)
}

/// A list, a fragment of its row, and two that change the row, one in each
/// process.
pub(super) fn wide_nested() -> World {
    let threads =
        [(0, Nested(1)), (0, Reader(OF_ROW, 1)), (0, Writer(&[Row])), (1, Writer(&[Row]))];
    World { inside: vec![0], ..two(BOUNDED, &threads) }
}
