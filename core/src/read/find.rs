//! What becomes of a caller that waits for another's fill.

use std::time::Instant;

use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::observe::Outcome;
use crate::read::fill::{Attempt, Caller, Found, Hit};
use crate::read::lookup::{Asked, IsSame};
use crate::read::recorder;
use crate::read::single_flight::{Flight, Moment};
use crate::sync::Arc;
use crate::sync::timer;

/// Whom a caller waits for, and when it came.
pub(crate) struct Following {
    pub(crate) flight: Arc<Flight>,
    pub(crate) came: Moment,
}

impl Cacheops {
    /// Waits for another's fill, and then looks again. It waits for a second
    /// one at most, if it had nothing of the first: an invalidation came, it
    /// failed, or it was begun too early. In all it waits no longer than the limit; then it
    /// goes on alone.
    pub(crate) async fn find_after(
        &self,
        asked: &Asked<'_>,
        is_same: &(impl IsSame + ?Sized),
        caller: Caller,
        mut following: Following,
    ) -> Result<Found, Error> {
        let until = timer::after(self.inner.settings.wait_timeout);
        let came = following.came;
        let mut may_wait = true;
        loop {
            let Following { flight, .. } = following;
            let landed = wait(&flight, caller, until).await;
            if landed && let Some(found) = self.take_left(asked, is_same, &flight, came).await {
                return Ok(found);
            }
            may_wait &= landed && (flight.is_overtaken() || began_too_early(&flight, came));
            match self.attempt(asked, is_same, Caller { may_wait, ..caller }).await? {
                Attempt::Done(found) => return Ok(found),
                Attempt::Wait(_) if !may_wait => {
                    // Never without waiting; were it so, rendering is always right.
                    return Ok(self.inner.bypass(asked, Outcome::Bypassed));
                }
                Attempt::Wait(next) => following = next,
            }
            may_wait = false;
        }
    }

    /// Takes what a fill has left that could not be kept, if it is as good as
    /// found.
    async fn take_left(
        &self,
        asked: &Asked<'_>,
        is_same: &(impl IsSame + ?Sized),
        flight: &Flight,
        came: Moment,
    ) -> Option<Found> {
        let left = flight.left()?;
        let (inner, fragment) = (&*self.inner, left.fragment.clone());
        if !left.unvouched {
            let page = asked.request.page;
            let found = inner.look_at(asked.address, Some(fragment), page, is_same).await.ok()?;
            return Some(inner.hit(asked, found));
        }
        // All that it shows was read after this caller had come, so after all
        // that was announced before.
        let expired = fragment.expires_at().is_some_and(|at| at <= inner.now());
        if !flight.began_after(came) || expired || !fragment.templates().iter().all(is_same) {
            return None;
        }
        inner.report(asked, Outcome::BreakerOpen, None);
        recorder::found(&fragment, asked.request.page);
        recorder::unknown(asked.request.page);
        Some(Found::Hit(Hit(fragment)))
    }
}

/// Whether it has left something that is for those who came earlier.
fn began_too_early(flight: &Flight, came: Moment) -> bool {
    flight.left().is_some_and(|left| left.unvouched) && !flight.began_after(came)
}

async fn wait(flight: &Arc<Flight>, caller: Caller, until: Option<Instant>) -> bool {
    match caller.is_async {
        true => flight.clone().landing(until).await,
        false => flight.wait(until),
    }
}
