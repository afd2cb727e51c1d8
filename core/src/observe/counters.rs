//! Counters of reads and fills.

use crate::observe::{Outcome, Stats};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Counters without a place in memory that all threads write to.
pub(crate) struct Counters([Stripe; STRIPES]);

const STRIPES: usize = 8;
const STORED: usize = Outcome::ALL.len();
const NOT_STORED: usize = STORED + 1;

#[repr(align(128))]
#[derive(Default)]
struct Stripe([AtomicU64; NOT_STORED + 1]);

/// Threads are distributed over the stripes.
fn stripe() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static MINE: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % STRIPES;
    }
    MINE.try_with(|stripe| *stripe).unwrap_or(0)
}

impl Counters {
    pub(crate) fn new() -> Self {
        Counters(Default::default())
    }

    fn add(&self, what: usize) {
        self.0[stripe()].0[what].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_read(&self, outcome: Outcome) {
        self.add(outcome as usize);
    }

    pub(crate) fn count_fill(&self, stored: bool) {
        self.add(if stored { STORED } else { NOT_STORED });
    }

    /// The counters here; the others are zero.
    pub(crate) fn stats(&self) -> Stats {
        // Each is read once, so that a sum is the sum of what is told beside it.
        let counts: [u64; NOT_STORED + 1] = std::array::from_fn(|what| {
            self.0.iter().map(|stripe| stripe.0[what].load(Ordering::Relaxed)).sum()
        });
        let sum = |what: usize| counts[what];
        let of = |outcome: Outcome| counts[outcome as usize];
        Stats {
            hits: Outcome::ALL.iter().filter(|o| o.is_hit()).map(|o| of(*o)).sum(),
            shared_hits: of(Outcome::SharedHit),
            stamp_lost: of(Outcome::StampLost),
            unverified: of(Outcome::Unverified),
            breaker_open: of(Outcome::BreakerOpen),
            misses: Outcome::ALL.iter().filter(|o| !o.is_hit()).map(|o| of(*o)).sum(),
            no_value: of(Outcome::NoValue),
            stamp_changed: of(Outcome::StampChanged),
            expired: of(Outcome::Expired),
            template_changed: of(Outcome::TemplateChanged),
            bypassed: of(Outcome::Bypassed),
            stored: sum(STORED),
            not_stored: sum(NOT_STORED),
            ..Stats::default()
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Counters, Outcome};

    /// What is told while others count adds up.
    #[test]
    fn sums_are_those_of_their_parts() {
        let (counters, done) = (Counters::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Outcome::ALL.iter().for_each(|outcome| counters.count_read(*outcome));
                }
            });
            for _ in 0..20_000 {
                let told = counters.stats();
                assert!(told.shared_hits <= told.hits, "{told:?}");
                let parts = [
                    told.no_value,
                    told.stamp_changed,
                    told.stamp_lost,
                    told.unverified,
                    told.breaker_open,
                    told.expired,
                    told.template_changed,
                    told.bypassed,
                ];
                assert_eq!(told.misses, parts.iter().sum::<u64>(), "{told:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
