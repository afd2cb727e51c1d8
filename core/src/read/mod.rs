//! Reading: a request is looked up, and filled where nothing is found.

pub(crate) mod fill;
pub(crate) mod find;
pub(crate) mod lookup;
pub(crate) mod page;
mod reads;
pub(crate) mod recorder;
pub(crate) mod single_flight;

pub use fill::{Fill, Found, Hit, Lease, Request};
pub use page::Page;
