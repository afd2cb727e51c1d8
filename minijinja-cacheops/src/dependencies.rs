//! The other templates that a body is made of. Their versions are part of its
//! key.

use cacheops::template::Tag;
use cacheops::{FragmentKey, KeyWriter};
use minijinja::State;

use crate::outer_macros::{self, FoundMacros};
use crate::rendering::{Rendering, Trace};
use crate::shared::Shared;
use crate::templates::{Dependencies, Uses};

/// The other templates that a body is made of.
pub(crate) struct BodySources {
    /// The templates and their version; `None` if there are none.
    pub(crate) others: Option<(Dependencies, Version)>,
    /// Whether it is unknown which templates run. The body is not cached
    /// then.
    pub(crate) are_unclear: bool,
    /// The macros that its names hold.
    pub(crate) macros: FoundMacros,
}

impl BodySources {
    /// Finds the templates, and writes their version into the key.
    pub(crate) fn of(
        shared: &Shared,
        state: &State<'_, '_>,
        tag: &Tag,
        key: &mut KeyWriter,
    ) -> Self {
        let imports = tag.dynamic_imports || !tag.references.is_empty();
        let has_blocks = tag.has_blocks || (imports && shared.templates.macros_use_blocks());
        // What it imports, or fills its blocks, may import by a variable in turn.
        let has_imported =
            || Rendering::trace(state).is_some_and(|trace| !trace.imports.is_empty());
        let dynamic = tag.dynamic_imports || ((imports || has_blocks) && has_imported());
        if dynamic {
            write_imports(state, key);
        }
        if has_blocks {
            write_chain(state, key);
        }
        let mut dependencies = dependencies(state, tag, has_blocks, dynamic);
        let uses = Uses { names: &tag.uses, is_plain: tag.is_plain, any: tag.may_use_any };
        let macros = outer_macros::add(shared, state, &uses, &mut dependencies, key);
        let others = dependencies.map(|dependencies| {
            let version = version(shared, state, &dependencies);
            key.key(&version.digest);
            (dependencies, version)
        });
        let is_other = others.as_ref().is_some_and(|(_, version)| !version.is_of_what_ran);
        let are_unclear = is_other
            || macros.are_unclear
            || (has_blocks && (tag.is_in_macro || is_inheritance_unclear(state)));
        BodySources { others, are_unclear, macros }
    }
}

/// Whether this rendering uses more than one inheritance, or one of a template
/// that the environment does not know or that was also rendered by itself. Then
/// it is unknown which templates fill the blocks of a body.
fn is_inheritance_unclear(state: &State<'_, '_>) -> bool {
    let is_unknown = |name: &String| state.env().get_template(name).is_err();
    Rendering::trace(state).is_some_and(|trace| {
        trace.inheritances > 1 || trace.is_unclear || trace.chain.iter().any(is_unknown)
    })
}

/// The digest of the source that the environment has under a name.
pub(crate) fn digest_in_environment(
    shared: &Shared,
    state: &State<'_, '_>,
    name: &str,
) -> Option<FragmentKey> {
    let template = state.env().get_template(name).ok()?;
    Some(shared.with_versions(state, |versions| versions.digest(&template)))
}

/// Writes the templates of the inheritance: the same sources can be another one.
fn write_chain(state: &State<'_, '_>, key: &mut KeyWriter) {
    let chain = Rendering::trace(state).map_or(&[][..], |trace| &trace.chain);
    key.list(chain.len());
    chain.iter().for_each(|name| key.str(name));
}

/// Writes the names imported so far. The last import of a name is the one that is
/// called.
fn write_imports(state: &State<'_, '_>, key: &mut KeyWriter) {
    let imports = Rendering::trace(state).map_or(&[][..], |trace| &trace.imports);
    key.list(imports.len());
    imports.iter().for_each(|name| key.str(name));
}

/// The other templates that a body is made of, if there are any: those that it
/// includes, those whose macros it can call, and, if it has blocks, those of the
/// inheritance that is being rendered.
fn dependencies(
    state: &State<'_, '_>,
    tag: &Tag,
    has_blocks: bool,
    dynamic: bool,
) -> Option<Dependencies> {
    // The body may show what its own blocks include.
    let named = if has_blocks { &tag.all_references } else { &tag.references };
    let mut dependencies = Dependencies { named: named.clone(), resolved: Vec::new() };
    if let Some(trace) = Rendering::trace(state) {
        if has_blocks {
            dependencies.resolved.extend(trace.chain.iter().cloned());
        }
        if dynamic {
            dependencies.resolved.extend(trace.imports.iter().cloned());
        }
    }
    (!dependencies.named.is_empty() || !dependencies.resolved.is_empty()).then_some(dependencies)
}

/// The version of some templates, as the environment has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) digest: FragmentKey,
    /// Whether none of them has run in this rendering from another source: one
    /// that was loaded anew since, or a text that is rendered under the name of
    /// a template.
    pub(crate) is_of_what_ran: bool,
}

/// The version of some templates.
pub(crate) fn version(
    shared: &Shared,
    state: &State<'_, '_>,
    dependencies: &Dependencies,
) -> Version {
    let mut key = KeyWriter::new();
    let seen =
        shared.with_versions(state, |versions| versions.write(state, dependencies, &mut key));
    let ran_otherwise = |trace: &Trace| {
        seen.iter().any(|(name, source)| {
            trace.has_run_otherwise(name, source.as_ref().map(|source| source.digest()))
        })
    };
    let is_of_what_ran = !Rendering::trace(state).is_some_and(ran_otherwise);
    Version { digest: key.finish(), is_of_what_ran }
}
