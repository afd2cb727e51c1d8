//! Reading: a request is looked up, and filled if nothing current is found.

pub(crate) mod attempt;
pub(crate) mod fill;
mod find;
pub(crate) mod lease;
mod lookup;
pub(crate) mod page;
pub(crate) mod reads;
pub(crate) mod recorder;
pub(crate) mod request;
pub(crate) mod single_flight;
pub(crate) mod surroundings;

pub use attempt::{Found, Hit};
pub use fill::Fill;
pub use lease::Lease;
pub use page::Page;
pub use reads::RowReader;
pub use recorder::FillOwner;
pub use request::Request;
