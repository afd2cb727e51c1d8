//! The suite of behaviours: every store, every engine.

mod cache;
mod concurrency;
mod fixtures;
mod limits;
mod loading;
mod reading;
mod values;
