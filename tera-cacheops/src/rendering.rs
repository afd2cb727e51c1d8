//! A rendering that the plugin began: [`Tags::render`](crate::Tags::render).

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;

use cacheops::Page;

use crate::frames;
use crate::live_rows::LiveRows;

type Cause = Box<dyn Error + Send + Sync>;

struct Rendering {
    page: Page,
    owner: Owner,
    /// The number of running bodies when it began.
    depth: usize,
    /// The last error of which Tera got only the message, with this message.
    cause: Option<(String, Cause)>,
    /// Rows that functions of the template have created.
    kept: Vec<Arc<LiveRows>>,
    /// Whether tags do not cache if it is unknown which templates fill their
    /// blocks.
    bypasses_blocks: bool,
}

/// The tags that began a rendering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(usize);

impl Owner {
    /// Identified by the address of something that is alive.
    pub(crate) fn at<T>(address: &T) -> Self {
        Owner(std::ptr::from_ref(address).addr())
    }
}

thread_local! {
    static RENDERINGS: RefCell<Vec<Rendering>> = const { RefCell::new(Vec::new()) };
}

/// `None` if the thread is about to end.
fn with<R>(f: impl FnOnce(&mut Vec<Rendering>) -> R) -> Option<R> {
    RENDERINGS.try_with(|renderings| f(&mut renderings.borrow_mut())).ok()
}

/// Lasts as long as the rendering, however it ends.
pub(crate) struct RenderGuard(());

impl RenderGuard {
    pub(crate) fn new(owner: Owner, page: Page) -> Self {
        frames::sweep();
        // What is read from here on counts until the rendering ends.
        page.enter();
        let rendering = Rendering {
            page,
            owner,
            depth: frames::depth(),
            cause: None,
            kept: Vec::new(),
            bypasses_blocks: false,
        };
        with(|renderings| renderings.push(rendering));
        RenderGuard(())
    }

    /// Switches caching off for tags around blocks in this rendering.
    pub(crate) fn bypass_blocks(&self) {
        with(|renderings| {
            if let Some(last) = renderings.last_mut() {
                last.bypasses_blocks = true;
            }
        });
    }

    /// The cause of an error that ends the rendering, if Tera got its
    /// message. If a function of the template has hidden an error, it is not
    /// the cause: its message is not part of the final error.
    pub(crate) fn cause_of(&self, error: &tera::Error) -> Option<Cause> {
        let (kept, _swallowed) = with(|renderings| {
            let kept = renderings.last_mut()?.cause.take();
            // The rendering around has gone on since the error that it kept, so
            // that is not the one that this one's may end it with.
            let around = renderings.iter_mut().nth_back(1);
            Some((kept, around.and_then(|around| around.cause.take())))
        })
        .flatten()?;
        let (words, cause) = kept?;
        error.to_string().contains(&words).then_some(cause)
    }
}

impl Drop for RenderGuard {
    fn drop(&mut self) {
        if let Some(ended) = with(Vec::pop).flatten() {
            frames::cut(ended.depth);
        }
    }
}

/// The page that is being rendered, if these tags began the rendering.
pub(crate) fn page(owner: Owner) -> Option<Page> {
    with(|renderings| {
        let last = renderings.last().filter(|last| last.owner == owner)?;
        Some(last.page.clone())
    })
    .flatten()
}

/// Whether it is known which templates fill the blocks here; `None` if these tags
/// did not begin the rendering.
pub(crate) fn knows_blocks(owner: Owner) -> Option<bool> {
    with(|renderings| {
        let last = renderings.last().filter(|last| last.owner == owner)?;
        Some(!last.bypasses_blocks)
    })
    .flatten()
}

/// Keeps rows until the rendering ends, if the plugin began it.
pub(crate) fn keep_rows(rows: Arc<LiveRows>) {
    with(|renderings| {
        if let Some(last) = renderings.last_mut() {
            last.kept.push(rows);
        }
    });
}

/// An error for Tera, which passes on only its message; the cause is kept here.
pub(crate) fn caused(words: String, cause: impl Into<Cause>) -> tera::Error {
    let cause = Some((words.clone(), cause.into()));
    // Dropped out here: an error before may render when it is.
    let _before = with(|renderings| match renderings.last_mut() {
        Some(last) => std::mem::replace(&mut last.cause, cause),
        None => cause,
    });
    tera::Error::message(words)
}
