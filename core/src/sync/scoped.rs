//! Futures during whose polls something holds in the polling thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What holds during a poll.
pub(crate) trait PollScope: Unpin {
    /// Ends the scope when dropped.
    type Guard;
    fn begin(&self) -> Self::Guard;
}

/// A future, and the scope of its polls.
pub(crate) struct ScopedFuture<F, S> {
    future: Pin<Box<F>>,
    scope: S,
}

impl<F, S> ScopedFuture<F, S> {
    pub(crate) fn new(scope: S, future: F) -> Self {
        ScopedFuture { future: Box::pin(future), scope }
    }
}

impl<F: Future, S: PollScope> Future for ScopedFuture<F, S> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _guard = self.scope.begin();
        self.future.as_mut().poll(context)
    }
}
