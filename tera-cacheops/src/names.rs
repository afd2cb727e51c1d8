//! The names that rewritten templates use, and that the engine has in keys.

/// What the engine is called in keys.
pub(crate) const ENGINE: &str = "tera";
/// The filter that looks a fragment up, for the tags of the library.
pub(crate) const BEGIN: &str = "_cacheops_begin";
/// The same for tags of the application's own.
pub(crate) const BEGIN_CUSTOM: &str = "_cacheops_begin_custom";
/// The function that gives what a fill lasts with.
pub(crate) const FILL: &str = "_cacheops_fill";
/// The filter that stores what a body rendered.
pub(crate) const STORE: &str = "_cacheops_store";
/// The function that gives the text of a fragment that was found.
pub(crate) const HIT: &str = "_cacheops_hit";
/// The function that tells which templates a Tera holds.
pub(crate) const TEMPLATE_SET: &str = "_cacheops_templates";
/// The template that says whether what is told is this Tera's. No name that an
/// author may write is an end of it.
pub(crate) const MARKER: &str = "_cacheops_templates()";
/// What the variables of the plugin begin with.
pub(crate) const VARIABLE: &str = "_cacheops";
/// The variable that says which page is rendered, for bodies with blocks.
pub(crate) const PAGE: &str = "_cacheops_page";
