//! The rows of the lazy querysets that are alive. Tera's values are plain data,
//! so a value contains only the number that finds its rows here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use cacheops::template::Rows;
use tera::Value;

/// Rows that their number finds until this is dropped.
pub(crate) struct LiveRows {
    pub(crate) number: u64,
    pub(crate) rows: Arc<Rows<Value>>,
}

static LIVE_ROWS: RwLock<BTreeMap<u64, Weak<Rows<Value>>>> = RwLock::new(BTreeMap::new());

impl LiveRows {
    pub(crate) fn new(rows: Rows<Value>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let rows = Arc::new(rows);
        let mut live = LIVE_ROWS.write().unwrap_or_else(PoisonError::into_inner);
        live.insert(number, Arc::downgrade(&rows));
        LiveRows { number, rows }
    }

    /// The rows of a number, if they are alive.
    pub(crate) fn find(number: u64) -> Option<Arc<Rows<Value>>> {
        let live = LIVE_ROWS.read().unwrap_or_else(PoisonError::into_inner);
        live.get(&number).and_then(Weak::upgrade)
    }
}

impl Drop for LiveRows {
    fn drop(&mut self) {
        LIVE_ROWS.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
