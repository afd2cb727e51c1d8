//! Examples of cacheops for Rust.
//!
//! [`blog`] is a small site whose pages are made of cached fragments:
//! `cargo run --release --example blog`.

pub mod blog;
