//! A search of the protocol through all its states.

mod broken;
mod canon;
mod lease;
mod line;
mod lookup;
mod names;
mod near;
mod server;
mod state;
mod tests;
mod world;
mod write;
