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

use crate::fragment::{Dependencies, Fragment};
use crate::read::page::{Page, WeakPage};
use crate::read::reads::Strays;
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
    static STRAYS: RefCell<Strays> = const { RefCell::new(Strays::new()) };
    static PAGES: RefCell<Vec<WeakPage>> = const { RefCell::new(Vec::new()) };
    static STACK: RefCell<Vec<Weak<Recorder>>> = const { RefCell::new(Vec::new()) };
    static SUPPRESSED: Cell<usize> = const { Cell::new(0) };
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

/// Makes the fill around this point depend on rows that were read under
/// `stamps`, and on what else they depend on. Where there is none, the fills
/// that begin later will see whether the rows are still current: in the
/// renderings under way in this thread, and wherever `reader` lives.
pub(crate) fn bind(reader: &std::sync::Arc<()>, stamps: &Arc<[Arc<Stamp>]>, more: &Dependencies) {
    if let Some(recorder) = current() {
        return recorder.with(|fill| {
            fill.stamps.extend(stamps.iter().cloned());
            fill.absorb(more);
        });
    }
    bind_stray(reader, stamps);
    if more.uncacheable {
        bind_stray(reader, &[Stamp::dropped()].into());
    }
}

fn bind_stray(reader: &std::sync::Arc<()>, stamps: &Arc<[Arc<Stamp>]>) {
    let is_unclaimed = !for_pages(None, |page| page.note_read(stamps));
    let _ = STRAYS.try_with(|strays| strays.borrow_mut().add(reader, stamps, is_unclaimed));
}

/// [`bind`] for rows that could not be read: as if they had changed already,
/// for no change would tell that they can be read again. What a fill shows in
/// their place may be shown by one that follows it.
pub(crate) fn failed(reader: &std::sync::Arc<()>) {
    record(|fill| {
        fill.uncacheable = true;
        fill.stamps.push(Stamp::dropped());
    });
    bind_stray(reader, &[Stamp::dropped()].into());
}

/// Makes the fill around this point, if there is one, depend on a fragment that
/// was found for `page`; else it was read outside of any.
pub(crate) fn found(fragment: &Arc<Fragment>, page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.absorb_fragment(fragment)),
        None if page.is_some() || is_rendering() => {
            for_pages(page, |page| page.note_read(fragment.stamps()));
        }
        None => {}
    }
}

/// The same for what was made for `page`.
pub(crate) fn made(dependencies: &Dependencies, page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.absorb(dependencies)),
        None if page.is_some() || is_rendering() => {
            for_pages(page, |page| page.note_read(&dependencies.stamps));
        }
        None => {}
    }
}

/// The same for what was handed out of which nothing tells when it changes: as
/// if it had already.
pub(crate) fn unknown(page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.stamps.push(Stamp::dropped())),
        None => {
            for_pages(page, Page::note_unknown);
        }
    }
}

/// Notes what was read outside of any fill: for all pages under way in this
/// thread, since nobody knows whom it is handed to, and for `page`. Whether one
/// is under way.
fn for_pages(page: Option<&Page>, note: impl Fn(&Page)) -> bool {
    let pages = PAGES.try_with(|pages| {
        let pages = pages.borrow();
        if let (Some(page), [only]) = (page, &pages[..])
            && page.is(only)
        {
            note(page);
            return true;
        }
        let under_way = || pages.iter().filter_map(Page::upgrade);
        under_way().for_each(|it| note(&it));
        if let Some(page) = page.filter(|page| !pages.iter().any(|it| page.is(it))) {
            note(page);
        }
        under_way().next().is_some()
    });
    pages.unwrap_or(false)
}

/// Whether a page may be under way in this thread.
fn is_rendering() -> bool {
    PAGES.try_with(|pages| !pages.borrow().is_empty()).unwrap_or(false)
}

/// Whether what is read around this point may count: for a fill, or a page.
pub(crate) fn counts_around(page: Option<&Page>) -> bool {
    page.is_some() || is_rendering() || current().is_some()
}

/// Has all that is read in this thread count for a page, until it ends.
pub(crate) fn enter_page(page: &Page) {
    let _ = PAGES.try_with(|pages| {
        if pages.borrow().iter().any(|it| page.is(it)) {
            return;
        }
        let mut pages = pages.borrow_mut();
        pages.retain(|it| it.strong_count() > 0);
        if pages.is_empty() {
            let _ = STRAYS.try_with(|strays| page.claim(&mut strays.borrow_mut()));
        }
        pages.push(page.downgrade());
    });
}

/// Whether all that was read around this point so far, in all the fills under
/// way and outside of them, is still current. A fill that begins where it is
/// not may show what is older than its stamps.
pub(crate) fn is_data_around_current(page: Option<&Page>) -> bool {
    let strays = STRAYS.try_with(|strays| strays.borrow().is_current()).unwrap_or(true);
    strays
        && pages_around(page).iter().all(Page::is_read_current)
        && around().iter().all(|recorder| recorder.with(Dependencies::still_has_current_stamps))
}

/// All stamps that what was read around this point stands on.
#[cfg(feature = "redis")]
pub(crate) fn stamps_around(page: Option<&Page>) -> Vec<Arc<Stamp>> {
    let of_strays = |strays: &RefCell<Strays>| strays.borrow().stamps().cloned().collect();
    let mut stamps: Vec<_> = STRAYS.try_with(of_strays).unwrap_or_default();
    pages_around(page).iter().for_each(|page| page.read_stamps(&mut stamps));
    for recorder in around() {
        recorder.with(|fill| stamps.extend(fill.stamps.iter().cloned()));
    }
    stamps
}

/// Whether all that was read around this point is known, and lies in a shared
/// store, where it can be asked whether it is unchanged.
#[cfg(feature = "redis")]
pub(crate) fn can_be_asked(page: Option<&Page>) -> bool {
    pages_around(page).iter().all(Page::knows_reads)
        && stamps_around(page).iter().all(|stamp| stamp.shared().is_some())
}

/// The pages under way in this thread, and the one that asks.
fn pages_around(page: Option<&Page>) -> Vec<Page> {
    let under_way = |pages: &RefCell<Vec<WeakPage>>| -> Vec<Page> {
        pages.borrow().iter().filter_map(Page::upgrade).collect()
    };
    let mut all = PAGES.try_with(under_way).unwrap_or_default();
    all.extend(page.cloned());
    all
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
pub(crate) fn is_suppressed() -> bool {
    SUPPRESSED.try_with(Cell::get).unwrap_or(0) > 0
}

/// Switches invalidation off in this thread while it lives.
pub(crate) struct Suppression(());

impl Suppression {
    pub(crate) fn new() -> Self {
        let _ = SUPPRESSED.try_with(|count| count.set(count.get() + 1));
        Suppression(())
    }
}

impl Drop for Suppression {
    fn drop(&mut self) {
        let _ = SUPPRESSED.try_with(|count| count.set(count.get().saturating_sub(1)));
    }
}

/// A future during whose polls something holds in the polling thread.
pub(crate) struct ScopedFuture<F, S> {
    future: Pin<Box<F>>,
    scope: S,
}

/// What holds during a poll.
pub(crate) trait PollScope: Unpin {
    /// Begins it; it ends when the guard is dropped.
    type Guard;
    fn begin(&self) -> Self::Guard;
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

/// A fill on the stack while it lives.
pub(crate) struct RecorderGuard(Arc<Recorder>);

impl PollScope for Arc<Recorder> {
    type Guard = RecorderGuard;

    fn begin(&self) -> RecorderGuard {
        self.enter();
        RecorderGuard(self.clone())
    }
}

impl Drop for RecorderGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Silence during the polls of a future.
pub(crate) struct SuppressionScope;

impl PollScope for SuppressionScope {
    type Guard = Suppression;

    fn begin(&self) -> Suppression {
        Suppression::new()
    }
}
