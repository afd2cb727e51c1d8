//! What SQL reads, held against a real SQLite.

mod bad_input;
mod cases;
mod orms;
mod precision;
mod proof;
mod random;
mod rules;
mod world;
mod writes;
