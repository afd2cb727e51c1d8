//! Embeds templates with cache tags, for `suite/embedded.rs`.

fn main() {
    minijinja_embed::embed_templates!("suite/embedded", &[".html"][..]);
}
