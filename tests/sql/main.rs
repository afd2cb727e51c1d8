//! What SQL reads, held against a real SQLite.

mod proof;
mod random;
mod world;
