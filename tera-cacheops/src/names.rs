//! The names in rewritten templates, and the name of the engine in keys.

/// The name of the engine in keys.
pub(crate) const ENGINE: &str = "tera";
/// The filter that looks a fragment up, for the tags of the library.
pub(crate) const BEGIN: &str = "_cacheops_begin";
/// The same for custom tags.
pub(crate) const BEGIN_CUSTOM: &str = "_cacheops_begin_custom";
/// The function that returns the token with which a fill stays alive.
pub(crate) const FILL: &str = "_cacheops_fill";
/// The filter that stores what a body rendered.
pub(crate) const STORE: &str = "_cacheops_store";
/// The function that returns the text of a fragment that was found.
pub(crate) const HIT: &str = "_cacheops_hit";
/// The function that returns which templates a Tera has.
pub(crate) const TEMPLATE_SET: &str = "_cacheops_templates";
/// The template that tells whether the result of that function belongs to this
/// Tera. No name that an author may write is a suffix of it.
pub(crate) const MARKER: &str = "_cacheops_templates()";
/// The prefix of the variables of the plugin.
pub(crate) const VARIABLE: &str = "_cacheops";
/// The variable that contains which page is rendered, for bodies with blocks.
pub(crate) const PAGE: &str = "_cacheops_page";
