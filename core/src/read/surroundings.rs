//! What was read around a point: by the fills of the thread, for its pages, and
//! outside of both. A fill that begins there may show it.

use crate::fragment::Dependencies;
use crate::read::page::Page;
use crate::read::reads::UnscopedReads;
use crate::read::recorder::{surrounding_fills, surrounding_pages, with_unscoped};
#[cfg(feature = "redis")]
use crate::store::{Stamp, StoreId};
#[cfg(feature = "redis")]
use crate::sync::Arc;

/// Whether everything that was read around this point, in all fills of the
/// thread and outside of them, is still current. A fill that begins where it is
/// not may show data that is older than its stamps.
pub(crate) fn is_surrounding_data_current(page: Option<&Page>) -> bool {
    with_unscoped(UnscopedReads::is_current).unwrap_or(true)
        && surrounding_pages(page).iter().all(Page::is_read_current)
        && surrounding_fills().iter().all(|recorder| {
            !recorder.is_outdated() && recorder.with(Dependencies::still_has_current_stamps)
        })
}

/// All stamps of what was read around this point.
#[cfg(feature = "redis")]
pub(crate) fn surrounding_stamps(page: Option<&Page>) -> Vec<Arc<Stamp>> {
    let unscoped = |reads: &UnscopedReads| reads.stamps().cloned().collect();
    let mut stamps: Vec<_> = with_unscoped(unscoped).unwrap_or_default();
    surrounding_pages(page).iter().for_each(|page| page.read_stamps(&mut stamps));
    for recorder in surrounding_fills() {
        recorder.with(|fill| stamps.extend(fill.stamps.iter().cloned()));
    }
    stamps
}

/// The stamps of what was read around this point from other caches with a shared tier:
/// other stores than `own`.
#[cfg(feature = "redis")]
pub(crate) fn stamps_of_others(own: Option<StoreId>, page: Option<&Page>) -> Vec<Arc<Stamp>> {
    let is_other = |store: Option<StoreId>| store.is_some() && store != own;
    let unscoped = |reads: &UnscopedReads| reads.stamps().any(|stamp| is_other(stamp.store()));
    let has_others = with_unscoped(unscoped).unwrap_or(false)
        || surrounding_pages(page).iter().any(|page| page.has_read(is_other))
        || surrounding_fills().iter().any(|recorder| recorder.with(|fill| fill.has_read(is_other)));
    match has_others {
        true => {
            let mut stamps = surrounding_stamps(page);
            stamps.retain(|stamp| is_other(stamp.store()));
            stamps
        }
        false => Vec::new(),
    }
}

/// What is known, without asking anybody, of what was read around a point.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// No stamp of it has been dropped.
    Current,
    /// A stamp of it has been dropped. If it lies in a shared store, the store can
    /// tell whether it has changed.
    Doubtful,
    /// Some of it counts as changed, for good.
    Outdated,
}

/// What is known of what was read around this point.
#[cfg(feature = "redis")]
pub(crate) fn surroundings(page: Option<&Page>) -> Surroundings {
    let is_outdated = !surrounding_pages(page).iter().all(Page::knows_reads)
        || surrounding_fills().iter().any(|recorder| recorder.is_outdated());
    match is_outdated {
        true => Surroundings::Outdated,
        false if is_surrounding_data_current(page) => Surroundings::Current,
        false => Surroundings::Doubtful,
    }
}
