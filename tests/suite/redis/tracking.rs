//! The tracking table of a server, and the pushes when it forgets.

use std::cell::Cell;
use std::time::Duration;

use cacheops::Consistency;
use cacheops_tests::servers::Server;

use super::{changed, patient, process, read, strict, until};

/// The table has room for ten keys. When the reads of a process evict entries from it,
/// the process gets pushes for them.
#[test]
fn an_overflowing_tracking_table_is_never_stale() {
    const ROWS: u64 = 40;
    let server = Server::options().arg("--tracking-table-max-keys", "10").start();
    let bounded = Consistency::Bounded(Duration::from_millis(300));
    let (cache, other) = (process(patient(&server).consistency(bounded)), process(strict(&server)));
    let database = Cell::new(0);
    for round in 1..4 {
        database.set(round);
        (0..ROWS).for_each(|id| {
            read(&cache, id, &database);
        });
        database.set(round + 1);
        (0..ROWS).for_each(|id| other.invalidate_obj("rows", &changed(id)).unwrap());
        until("the push", || (0..ROWS).all(|id| read(&cache, id, &database).0 > round));
        other.invalidate_all().unwrap();
    }
}
