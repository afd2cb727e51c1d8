//! What the fills of a thread depend on: inner fills pass their dependencies to
//! the outer ones here.
//!
//! Rendering is synchronous, so the fills of a thread form a stack. The stack
//! holds weak references: a fill that an error has dropped disappears from it
//! by itself. Where an engine drops nothing on an error, the fill has an owner,
//! and is abandoned as soon as that is gone. An asynchronous fill is on the
//! stack whenever it is polled.

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::fragment::{Dependencies, Fragment};
use crate::read::page::{Page, WeakPage};
use crate::read::reads::{RowReader, UnscopedReads};
use crate::store::Stamp;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::scoped::PollScope;
use crate::sync::{Arc, Mutex, Weak, lock, thread_local};

/// Whatever a fill ends with that is not dropped by itself. Once nobody holds
/// the token, the fill has been abandoned.
#[derive(Clone, Debug)]
pub struct FillOwner(std::sync::Weak<str>);

impl FillOwner {
    /// The fill ends with this token. It does not keep the token alive.
    #[must_use]
    pub fn of(token: &std::sync::Arc<str>) -> Self {
        FillOwner(std::sync::Arc::downgrade(token))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// What a fill has been found to depend on so far.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    found: Mutex<Dependencies>,
    owner: OnceLock<FillOwner>,
    /// The pages around the fill when it began. What is made inside of it may show
    /// what they have read, in whichever thread it goes on.
    pages: Vec<WeakPage>,
    /// Whether the fill may show what had changed before it began. Then so may
    /// everything that is made inside of it.
    is_outdated: AtomicBool,
}

/// What the cache knows of a thread.
struct ThreadState {
    /// What was read outside of any fill.
    unscoped: RefCell<UnscopedReads>,
    /// The pages that the thread has entered.
    pages: RefCell<Vec<WeakPage>>,
    /// The fills that run, from the outermost to the innermost.
    stack: RefCell<Vec<Weak<Recorder>>>,
}

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            unscoped: RefCell::new(UnscopedReads::new()),
            pages: RefCell::new(Vec::new()),
            stack: RefCell::new(Vec::new()),
        }
    };
}

/// Calls `f` with the state of this thread; `None` in a thread that is ending,
/// where nothing is recorded any more.
fn with_thread<R>(f: impl FnOnce(&ThreadState) -> R) -> Option<R> {
    THREAD.try_with(f).ok()
}

impl Recorder {
    /// Begins to record a fill that `page` asks for.
    pub(crate) fn new(dependencies: Dependencies, page: Option<&Page>) -> Arc<Self> {
        Arc::new(Recorder {
            found: Mutex::new(dependencies),
            pages: surrounding_pages(page).iter().map(Page::downgrade).collect(),
            ..Recorder::default()
        })
    }

    /// Notes that the fill may show what had changed before it began.
    pub(crate) fn outdate(&self) {
        self.is_outdated.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::SeqCst)
    }

    /// Passes what an abandoned fill has found to the pages: whatever is shown in
    /// its place, a later fill may show too.
    fn pass_to_pages(&self) {
        let found = self.take();
        let note = |page: &Page| match self.is_outdated() {
            true => page.note_unknown(),
            false => page.note_read(&found.stamps),
        };
        for_pages(None, note);
        self.pages.iter().filter_map(Page::upgrade).for_each(|page| note(&page));
    }

    /// Pushes the fill onto the stack of this thread.
    pub(crate) fn enter(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        with_thread(|thread| thread.stack.borrow_mut().push(weak));
    }

    /// Takes the fill off the stack, with whatever is left above it.
    pub(crate) fn leave(self: &Arc<Self>) {
        with_thread(|thread| {
            let mut stack = thread.stack.borrow_mut();
            let place = stack.iter().rposition(|weak| weak.as_ptr() == Arc::as_ptr(self));
            if let Some(place) = place {
                let above = stack[place + 1..].iter().filter_map(Weak::upgrade);
                let abandoned: Vec<Dependencies> =
                    above.filter(|inner| inner.is_abandoned()).map(|inner| inner.take()).collect();
                abandoned.iter().for_each(|inner| self.with(|fill| fill.absorb(inner)));
                stack.truncate(place);
            }
        });
    }

    /// Makes the fill count as abandoned as soon as its owner is gone.
    pub(crate) fn end_with(&self, owner: FillOwner) {
        let _ = self.owner.set(owner);
    }

    fn is_abandoned(&self) -> bool {
        self.owner.get().is_some_and(FillOwner::is_gone)
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Dependencies) -> R) -> R {
        f(&mut lock(&self.found))
    }

    pub(crate) fn take(&self) -> Dependencies {
        std::mem::take(&mut lock(&self.found))
    }
}

/// The innermost fill of this thread.
pub(crate) fn current() -> Option<Arc<Recorder>> {
    let mut abandoned = Vec::new();
    let current = with_thread(|thread| {
        if thread.stack.borrow().is_empty() {
            return None;
        }
        let mut stack = thread.stack.borrow_mut();
        while let Some(weak) = stack.last() {
            match weak.upgrade() {
                Some(recorder) if !recorder.is_abandoned() => return Some(recorder),
                recorder => abandoned.extend(recorder),
            }
            stack.pop();
        }
        None
    });
    let current = current.flatten();
    // What was shown instead depends on what they had read.
    for inner in abandoned {
        match &current {
            Some(recorder) => {
                let found = inner.take();
                recorder.with(|fill| fill.absorb(&found));
            }
            None => inner.pass_to_pages(),
        }
    }
    current
}

/// Changes what the innermost fill depends on, if there is one.
pub(crate) fn with_current(f: impl FnOnce(&mut Dependencies)) {
    if let Some(recorder) = current() {
        recorder.with(f);
    }
}

/// Makes the innermost fill depend on rows that were read under `stamps`, and
/// on what else they depend on. Outside of any fill, the fills that begin later
/// will check whether the rows are still current: those of the thread's pages,
/// and all for as long as `reader` lives.
pub(crate) fn note_rows(reader: &RowReader, stamps: &Arc<[Arc<Stamp>]>, more: &Dependencies) {
    if let Some(recorder) = current() {
        return recorder.with(|fill| {
            fill.stamps.extend(stamps.iter().cloned());
            fill.absorb(more);
        });
    }
    note_unscoped(reader, stamps);
    if more.uncacheable {
        note_unscoped(reader, &[Stamp::dropped()].into());
    }
}

fn note_unscoped(reader: &RowReader, stamps: &Arc<[Arc<Stamp>]>) {
    let is_unclaimed = !for_pages(None, |page| page.note_read(stamps));
    with_thread(|thread| thread.unscoped.borrow_mut().add(reader, stamps, is_unclaimed));
}

/// [`note_rows`] for rows that could not be read. They count as changed, since
/// no invalidation would tell that they can be read again. Whatever a fill shows
/// in their place, a later one may show too.
pub(crate) fn note_failed_rows(reader: &RowReader) {
    with_current(|fill| {
        fill.uncacheable = true;
        fill.stamps.push(Stamp::dropped());
    });
    note_unscoped(reader, &[Stamp::dropped()].into());
}

/// Makes the innermost fill depend on a fragment that was found for `page`;
/// outside of any fill, the page.
pub(crate) fn note_hit(fragment: &Arc<Fragment>, page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.absorb_fragment(fragment)),
        None if page.is_some() || has_pages() => {
            for_pages(page, |page| page.note_read(fragment.stamps()));
        }
        None => {}
    }
}

/// [`note_hit`] for what was filled for `page`.
pub(crate) fn note_fill(dependencies: &Dependencies, page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(|fill| fill.absorb(dependencies)),
        None if page.is_some() || has_pages() => {
            for_pages(page, |page| page.note_read(&dependencies.stamps));
        }
        None => {}
    }
}

/// [`note_hit`] for what nothing reports changes of. It counts as changed.
pub(crate) fn note_unknown(page: Option<&Page>) {
    match current() {
        Some(recorder) => recorder.with(Dependencies::note_unknown),
        None => {
            for_pages(page, Page::note_unknown);
        }
    }
}

/// Notes a read outside of any fill, for `page` and for all pages that this
/// thread has entered, since it may be handed to any of them. Returns whether
/// the thread has entered one.
fn for_pages(page: Option<&Page>, note: impl Fn(&Page)) -> bool {
    with_thread(|thread| {
        let pages = thread.pages.borrow();
        if let (Some(page), [only]) = (page, &pages[..])
            && page.is(only)
        {
            note(page);
            return true;
        }
        let entered = || pages.iter().filter_map(Page::upgrade);
        entered().for_each(|it| note(&it));
        if let Some(page) = page.filter(|page| !pages.iter().any(|it| page.is(it))) {
            note(page);
        }
        entered().next().is_some()
    })
    .unwrap_or(false)
}

/// Whether the thread may have entered a page.
fn has_pages() -> bool {
    with_thread(|thread| !thread.pages.borrow().is_empty()).unwrap_or(false)
}

/// Whether a read at this point counts for anything: a fill, or a page.
pub(crate) fn is_recording(page: Option<&Page>) -> bool {
    page.is_some() || has_pages() || current().is_some()
}

impl Page {
    /// Has everything that this thread reads through a cache, outside of any
    /// fill, count for this page until it ends: values, and rows of lazy
    /// querysets. So a handler enters its page first; then it gets its values
    /// and renders as usual. A page may be entered in several threads; entering
    /// it twice in one does nothing.
    ///
    /// ```
    /// # use cacheops::{Cacheops, Error, QuerySet, eq};
    /// # let cache = Cacheops::in_memory();
    /// # fn render(_: &[u64]) -> Result<String, Error> { Ok(String::new()) }
    /// let page = cache.page();
    /// page.enter();
    /// let ids = cache.cached_as("articles").get_or_fill(|| Ok::<_, Error>(vec![1, 2]))?;
    /// // Stored only if the ids have not changed meanwhile.
    /// let one = QuerySet::table("articles").filter(eq("id", 1));
    /// let text = cache.cached_as(one).get_or_fill(|| render(&ids))?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn enter(&self) {
        with_thread(|thread| {
            if thread.pages.borrow().iter().any(|it| self.is(it)) {
                return;
            }
            let mut pages = thread.pages.borrow_mut();
            pages.retain(|it| it.strong_count() > 0);
            if pages.is_empty() {
                self.claim(&mut thread.unscoped.borrow_mut());
            }
            pages.push(self.downgrade());
        });
    }
}

/// The pages that this thread has entered, those of its fills, and `page`.
pub(super) fn surrounding_pages(page: Option<&Page>) -> Vec<Page> {
    let mut all: Vec<Page> = Vec::new();
    let mut add = |weak: &WeakPage| {
        if !all.iter().any(|known| known.is(weak)) {
            all.extend(Page::upgrade(weak));
        }
    };
    with_thread(|thread| thread.pages.borrow().iter().for_each(&mut add));
    surrounding_fills().iter().flat_map(|recorder| &recorder.pages).for_each(&mut add);
    page.iter().for_each(|page| add(&page.downgrade()));
    all
}

/// All fills of this thread, and the abandoned ones that have not passed on yet what
/// they found.
pub(super) fn surrounding_fills() -> Vec<Arc<Recorder>> {
    with_thread(|thread| thread.stack.borrow().iter().filter_map(Weak::upgrade).collect())
        .unwrap_or_default()
}

/// What this thread has read outside of any fill; `None` in a thread that is ending.
pub(super) fn with_unscoped<R>(f: impl FnOnce(&UnscopedReads) -> R) -> Option<R> {
    with_thread(|thread| f(&thread.unscoped.borrow()))
}

/// Keeps a fill on the stack while it lives.
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
