//! A rendering that the plugin began: [`Tags::render`](crate::Tags::render).

use std::cell::RefCell;
use std::error::Error;

use cacheops::Page;

use crate::frames;
use crate::querysets::Lazy;
use crate::tags::Shared;

type Cause = Box<dyn Error + Send + Sync>;

struct Rendering {
    page: Page,
    /// Whose it is, by address.
    owner: usize,
    /// How many bodies were under way when it began.
    depth: usize,
    /// The error of the application's that ends it.
    cause: Option<Cause>,
    /// Rows that functions of the template have made.
    kept: Vec<Lazy>,
}

thread_local! {
    static RENDERINGS: RefCell<Vec<Rendering>> = const { RefCell::new(Vec::new()) };
}

/// Holds as long as the rendering lasts, however it ends.
pub(crate) struct Guard(());

impl Guard {
    pub(crate) fn new(shared: &Shared) -> Self {
        frames::sweep();
        let rendering = Rendering {
            page: shared.cache.page(),
            owner: address(shared),
            depth: frames::depth(),
            cause: None,
            kept: Vec::new(),
        };
        RENDERINGS.with_borrow_mut(|renderings| renderings.push(rendering));
        Guard(())
    }

    /// An error that ends the rendering, with that of the application's which
    /// Tera has only told of.
    pub(crate) fn tell(&self, error: tera::Error) -> tera::Error {
        let cause = RENDERINGS.with_borrow_mut(|renderings| renderings.last_mut()?.cause.take());
        match cause {
            Some(cause) => tera::Error::chain(error, cause),
            None => error,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let ended = RENDERINGS.try_with(|renderings| renderings.borrow_mut().pop());
        if let Ok(Some(ended)) = ended {
            frames::cut(ended.depth);
        }
    }
}

/// The page that is being rendered, where the plugin has begun it.
pub(crate) fn page(shared: &Shared) -> Option<Page> {
    RENDERINGS.with_borrow(|renderings| {
        let last = renderings.last().filter(|last| last.owner == address(shared))?;
        Some(last.page.clone())
    })
}

fn address(shared: &Shared) -> usize {
    std::ptr::from_ref(shared) as usize
}

/// Keeps rows until the rendering ends, if the plugin has begun it.
pub(crate) fn keep_rows(rows: Lazy) {
    RENDERINGS.with_borrow_mut(|renderings| {
        if let Some(last) = renderings.last_mut() {
            last.kept.push(rows);
        }
    });
}

/// Keeps an error of the application's; Tera passes on no more than its words.
pub(crate) fn keep(error: Cause) {
    RENDERINGS.with_borrow_mut(|renderings| {
        if let Some(last) = renderings.last_mut() {
            last.cause = Some(error);
        }
    });
}
