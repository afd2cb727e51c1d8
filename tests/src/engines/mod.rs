//! The engines.

mod minijinja;
mod tera;

pub use minijinja::MiniJinja;
pub use tera::Tera;
