//! A rendering that the plugin began: [`Tags::render`](crate::Tags::render).

use std::cell::RefCell;

use cacheops::Page;
use tera::Error;

use crate::frames;
use crate::tags::Shared;

struct Rendering {
    page: Page,
    /// Whose it is, by address.
    owner: usize,
    /// How many bodies were under way when it began.
    depth: usize,
    /// The error of the application's that ends it.
    cause: Option<Error>,
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
        };
        RENDERINGS.with_borrow_mut(|renderings| renderings.push(rendering));
        Guard(())
    }

    /// The error of the application's that Tera has only told of.
    pub(crate) fn take_cause(&self) -> Option<Error> {
        RENDERINGS.with_borrow_mut(|renderings| renderings.last_mut()?.cause.take())
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

/// Keeps an error of the application's; Tera passes on no more than its words.
pub(crate) fn keep(error: Error) {
    RENDERINGS.with_borrow_mut(|renderings| {
        if let Some(last) = renderings.last_mut() {
            last.cause = Some(error);
        }
    });
}
