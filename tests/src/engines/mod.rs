//! The engines.

mod minijinja;

pub use minijinja::MiniJinja;
