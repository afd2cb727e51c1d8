//! Who is being filled: dependencies bubble from inner to outer by it.
//!
//! Rendering is synchronous, so the fills under way in a thread form a stack.
//! It holds weak references: a fill that was given up by an error on the way
//! disappears from it by itself. Where nothing is dropped on the way, a fill
//! lasts while something else lives that is. An asynchronous body puts its fill on the
//! stack whenever it is polled.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use crate::fragment::Dependencies;
use crate::store::Stamp;
use crate::sync::{Arc, Mutex, Weak, lock, thread_local};

/// What a fill under way has been found to depend on.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    found: Mutex<Dependencies>,
    /// What the fill lasts with, if it does not by itself.
    lasts: OnceLock<std::sync::Weak<str>>,
}

thread_local! {
    static EARLY: RefCell<Early> = const { RefCell::new(Early::new()) };
    static STACK: RefCell<Vec<Weak<Recorder>>> = const { RefCell::new(Vec::new()) };
    static QUIET: Cell<usize> = const { Cell::new(0) };
}

impl Recorder {
    pub(crate) fn new(dependencies: Dependencies) -> Arc<Self> {
        Arc::new(Recorder { found: Mutex::new(dependencies), lasts: OnceLock::new() })
    }

    /// Puts the fill on the stack of this thread.
    pub(crate) fn enter(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        // A thread that is ending has no stack any more: nothing bubbles there.
        let _ = STACK.try_with(|stack| stack.borrow_mut().push(weak));
    }

    /// Takes the fill off the stack, with whatever was left above it.
    pub(crate) fn leave(self: &Arc<Self>) {
        let _ = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let place = stack.iter().rposition(|weak| weak.as_ptr() == Arc::as_ptr(self));
            if let Some(place) = place {
                let above = stack[place + 1..].iter().filter_map(Weak::upgrade);
                let given_up: Vec<Dependencies> =
                    above.filter(|inner| !inner.lasts()).map(|inner| inner.take()).collect();
                given_up.iter().for_each(|inner| self.with(|fill| fill.absorb(inner)));
                stack.truncate(place);
            }
        });
    }

    /// Makes the fill one that has been given up as soon as nobody holds this.
    pub(crate) fn last_with(&self, life: std::sync::Weak<str>) {
        let _ = self.lasts.set(life);
    }

    fn lasts(&self) -> bool {
        self.lasts.get().is_none_or(|life| life.strong_count() > 0)
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Dependencies) -> R) -> R {
        f(&mut lock(&self.found))
    }

    pub(crate) fn take(&self) -> Dependencies {
        std::mem::take(&mut lock(&self.found))
    }
}

/// The innermost fill under way in this thread.
pub(crate) fn current() -> Option<Arc<Recorder>> {
    STACK
        .try_with(|stack| {
            if stack.borrow().is_empty() {
                return None;
            }
            let mut stack = stack.borrow_mut();
            let mut given_up = Vec::new();
            while let Some(weak) = stack.last() {
                match weak.upgrade() {
                    Some(recorder) if recorder.lasts() => {
                        // What was shown in its place depends on what it read.
                        given_up.iter().for_each(|inner| recorder.with(|fill| fill.absorb(inner)));
                        return Some(recorder);
                    }
                    recorder => given_up.extend(recorder.map(|recorder| recorder.take())),
                }
                stack.pop();
            }
            None
        })
        .ok()
        .flatten()
}

/// Tells the innermost fill under way what it depends on, if there is one.
pub(crate) fn record(f: impl FnOnce(&mut Dependencies)) {
    if let Some(recorder) = current() {
        recorder.with(f);
    }
}

/// Data read in this thread outside of any fill, which a fill that begins
/// later may show: a row in a loop around a tag, say. It counts while its
/// reader lives; that it may count for longer than it is shown can only keep a
/// fragment from being stored.
struct Early {
    read: Vec<Read>,
    /// How many reads there may be before those are dropped whose readers are
    /// gone.
    sweep_at: usize,
}

struct Read {
    reader: std::sync::Weak<()>,
    stamps: Arc<[Arc<Stamp>]>,
}

impl Early {
    const fn new() -> Self {
        Early { read: Vec::new(), sweep_at: 32 }
    }

    fn add(&mut self, reader: &std::sync::Arc<()>, stamps: &Arc<[Arc<Stamp>]>) {
        let same = |read: &Read| {
            Arc::ptr_eq(&read.stamps, stamps)
                && read.reader.as_ptr() == std::sync::Arc::as_ptr(reader)
        };
        if self.read.iter().any(same) {
            return;
        }
        if self.read.len() >= self.sweep_at {
            self.read.retain(|read| read.reader.strong_count() > 0);
            self.sweep_at = 32 + 2 * self.read.len();
        }
        let reader = std::sync::Arc::downgrade(reader);
        self.read.push(Read { reader, stamps: stamps.clone() });
    }

    #[cfg(feature = "redis")]
    fn stamps(&self) -> Vec<Arc<Stamp>> {
        let alive = self.read.iter().filter(|read| read.reader.strong_count() > 0);
        alive.flat_map(|read| read.stamps.iter().cloned()).collect()
    }

    fn is_current(&self) -> bool {
        self.read.iter().all(|read| {
            read.reader.strong_count() == 0 || read.stamps.iter().all(|stamp| stamp.is_current())
        })
    }
}

/// Makes the fill around this point depend on data that was read under
/// `stamps`; where there is none, the fills that begin while `reader` lives
/// will see whether it is still current.
pub(crate) fn bind(reader: &std::sync::Arc<()>, stamps: &Arc<[Arc<Stamp>]>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.stamps.extend(stamps.iter().cloned())),
        None => {
            let _ = EARLY.try_with(|early| early.borrow_mut().add(reader, stamps));
        }
    }
}

/// Whether all that was read around this point so far, in all the fills under
/// way and outside of them, is still current. A fill that begins where it is
/// not may show what is older than its stamps.
pub(crate) fn is_data_around_current() -> bool {
    let early = EARLY.try_with(|early| early.borrow().is_current()).unwrap_or(true);
    early && around().iter().all(|recorder| recorder.with(Dependencies::still_has_current_stamps))
}

/// All stamps that what was read around this point stands on.
#[cfg(feature = "redis")]
pub(crate) fn stamps_around() -> Vec<Arc<Stamp>> {
    let mut stamps = EARLY.try_with(|early| early.borrow().stamps()).unwrap_or_default();
    for recorder in around() {
        recorder.with(|fill| stamps.extend(fill.stamps.iter().cloned()));
    }
    stamps
}

/// All fills under way in this thread.
fn around() -> Vec<Arc<Recorder>> {
    STACK
        .try_with(|stack| {
            let stack = stack.borrow();
            stack.iter().filter_map(Weak::upgrade).filter(|recorder| recorder.lasts()).collect()
        })
        .unwrap_or_default()
}

/// Whether invalidation is switched off in this thread.
pub(crate) fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(0) > 0
}

/// Switches invalidation off in this thread while it lives.
pub(crate) struct Quiet(());

impl Quiet {
    pub(crate) fn new() -> Self {
        let _ = QUIET.try_with(|quiet| quiet.set(quiet.get() + 1));
        Quiet(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = QUIET.try_with(|quiet| quiet.set(quiet.get().saturating_sub(1)));
    }
}

/// A future during whose polls something holds in the polling thread.
pub(crate) struct Scoped<F, S> {
    future: Pin<Box<F>>,
    scope: S,
}

/// What holds during a poll.
pub(crate) trait PollScope: Unpin {
    /// Begins it; it ends when the guard is dropped.
    type Guard;
    fn begin(&self) -> Self::Guard;
}

impl<F, S> Scoped<F, S> {
    pub(crate) fn new(scope: S, future: F) -> Self {
        Scoped { future: Box::pin(future), scope }
    }
}

impl<F: Future, S: PollScope> Future for Scoped<F, S> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _guard = self.scope.begin();
        self.future.as_mut().poll(context)
    }
}

/// A fill on the stack while it lives.
pub(crate) struct Entered(Arc<Recorder>);

impl PollScope for Arc<Recorder> {
    type Guard = Entered;

    fn begin(&self) -> Entered {
        self.enter();
        Entered(self.clone())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Silence during the polls of a future.
pub(crate) struct QuietScope;

impl PollScope for QuietScope {
    type Guard = Quiet;

    fn begin(&self) -> Quiet {
        Quiet::new()
    }
}
