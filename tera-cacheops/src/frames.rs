//! The bodies that are running in a thread.
//!
//! Tera's state has no room for a fill, so fills are stored here, and so is what
//! a filter passes to the next one. A variable of the rendering holds a token for
//! each fill. If an error or a panic ends the rendering, the token is dropped
//! with it, and a fill without a token is abandoned.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use cacheops::template::Mark;
use cacheops::{Fill, FillOwner, Hit};
use tera::value::{Key, Map};
use tera::{Error, Value};

/// A body that has begun and not ended.
struct Frame {
    id: u64,
    life: Weak<str>,
    /// `None` if the body is not cached.
    fill: Option<Fill>,
    mark: Option<Mark>,
}

/// A body that has ended.
pub(crate) struct Ended {
    pub(crate) fill: Option<Fill>,
    pub(crate) mark: Option<Mark>,
}

#[derive(Default)]
struct Frames {
    count: u64,
    open: Vec<Frame>,
    /// The token of a body that begins with the next statement.
    begun: Option<Arc<str>>,
    /// What the next statement prints.
    found: Option<(Hit, Option<Mark>)>,
}

thread_local! {
    static FRAMES: RefCell<Frames> = RefCell::default();
}

fn with<R>(f: impl FnOnce(&mut Frames) -> R) -> Option<R> {
    FRAMES.try_with(|frames| f(&mut frames.borrow_mut())).ok()
}

/// Begins a body.
pub(crate) fn begin(fill: Option<Fill>, mark: Option<Mark>) {
    sweep();
    with(|frames| {
        frames.count += 1;
        let id = frames.count;
        let token: Arc<str> = id.to_string().into();
        let life = Arc::downgrade(&token);
        if let Some(fill) = &fill {
            fill.enter_while(&FillOwner::of(&token));
        }
        frames.begun = Some(token);
        frames.open.push(Frame { id, life, fill, mark });
    });
}

/// Drops the bodies whose renderings have ended.
pub(crate) fn sweep() {
    let is_dead = |frame: &Frame| frame.life.strong_count() == 0;
    loop {
        let dead = with(|frames| match frames.open.last() {
            Some(last) if is_dead(last) => frames.open.pop(),
            _ => None,
        });
        // Dropped out here: a fill may call back.
        if dead.flatten().is_none() {
            return;
        }
    }
}

/// The number of running bodies.
pub(crate) fn depth() -> usize {
    with(|frames| frames.open.len()).unwrap_or_default()
}

/// Drops all bodies but the first `depth`.
pub(crate) fn cut(depth: usize) {
    loop {
        let over = with(|frames| if frames.open.len() > depth { frames.open.pop() } else { None });
        if over.flatten().is_none() {
            return;
        }
    }
}

/// The token of the body that begins, as a value for a variable.
pub(crate) fn token() -> Value {
    let token = with(|frames| frames.begun.take()).flatten();
    let mut map = Map::new();
    if let Some(token) = token {
        map.insert(Key::String(token), Value::none());
    }
    Value::from(map)
}

/// Ends the body of a token.
pub(crate) fn end(token: &Value) -> Result<Ended, Error> {
    let key = token.as_map().and_then(|map| map.keys().next());
    let id = key.and_then(Key::as_str).and_then(|id| id.parse::<u64>().ok());
    let place = with(|frames| frames.open.iter().rposition(|frame| Some(frame.id) == id));
    let Some(place) = place.flatten() else {
        return Err(Error::message("a cache tag has lost its fragment: it ends in another thread"));
    };
    // What was left above by an error that somebody swallowed.
    cut(place + 1);
    match with(|frames| frames.open.pop()).flatten() {
        Some(Frame { fill, mark, .. }) => Ok(Ended { fill, mark }),
        None => Ok(Ended { fill: None, mark: None }),
    }
}

/// Stores a fragment for the statement that prints it.
pub(crate) fn found(hit: Hit, mark: Option<Mark>) {
    with(|frames| frames.found = Some((hit, mark)));
}

/// The fragment that was just found.
pub(crate) fn take_found() -> Value {
    match with(|frames| frames.found.take()).flatten() {
        Some((hit, None)) => Value::safe_string(hit.text().unwrap_or_default()),
        Some((hit, Some(mark))) => {
            let text = hit.text().unwrap_or_default();
            Value::safe_string(&format!("{}{text}{}", mark.begin(), mark.end()))
        }
        None => Value::safe_string(""),
    }
}
