//! Which macros a body can call. The included template may call those of a
//! template around it without naming the template that defines them, and a
//! variable may hold any.

use cacheops::{FragmentKey, KeyWriter};
use minijinja::{State, Value};

use crate::engine::own_type;
use crate::rendering::{KnownMacros, Rendering, Trace};
use crate::shared::Shared;
use crate::templates::{Dependencies, Uses};
use crate::traced_macro::{MacroId, TracedMacro, is_macro};

/// How many values are checked. A body that calls a macro behind them is not
/// stored.
const MOST: usize = 256;

/// The macros that the names of a body hold.
#[derive(Default)]
pub(crate) struct FoundMacros {
    ids: Vec<MacroId>,
    /// Whether a name holds one of which nothing is known. The body is not
    /// cached then.
    pub(crate) are_unclear: bool,
}

/// Writes which macros the names hold that a body or an include of it uses, and
/// adds the templates of these macros to the dependencies.
pub(crate) fn add(
    shared: &Shared,
    state: &State<'_, '_>,
    own: &Uses<'_>,
    dependencies: &mut Option<Dependencies>,
    key: &mut KeyWriter,
) -> FoundMacros {
    let none = FoundMacros::default();
    let Some(trace) = Rendering::trace(state) else { return none };
    if !may_differ(trace, state.name(), own) {
        return none;
    }
    let mut search = Search { key, found: none, left: MOST, name: String::new(), path: Vec::new() };
    search.look_up_all(state, own);
    if let Some(dependencies) = dependencies {
        let all = shared.with_versions(state, |versions| versions.all(state, dependencies));
        all.iter().for_each(|source| search.look_up_all(state, &source.uses()));
    }
    let Search { key, found, .. } = search;
    if !found.ids.is_empty() {
        let names = templates_of(trace, &found.ids);
        write_history(trace, &found.ids, &names, key);
        dependencies.get_or_insert_default().resolved.extend(names);
    }
    found
}

/// Whether the names of a body may hold other macros than its source says.
fn may_differ(trace: &Trace, name: &str, own: &Uses<'_>) -> bool {
    let has_macros = !trace.made.is_empty() || !trace.macros.is_empty();
    trace.has_untraced
        || (has_macros
            && (!own.is_plain
                || trace.macros.iter().any(|other| other != name)
                || trace.ran.iter().filter(|(other, _)| other == name).count() > 1))
}

/// The templates that define the macros.
fn templates_of(trace: &Trace, ids: &[MacroId]) -> Vec<String> {
    let is_one = |digest: &FragmentKey| ids.iter().any(|id| id.source == *digest);
    let ran = trace.ran.iter().filter(|(_, digest)| is_one(digest));
    ran.map(|(name, _)| name.clone()).collect()
}

/// Writes what the templates of the macros have defined and imported so far:
/// what one of the macros calls in turn.
fn write_history(trace: &Trace, ids: &[MacroId], names: &[String], key: &mut KeyWriter) {
    let mut written = Vec::new();
    for id in ids {
        if !written.contains(&id.source) {
            written.push(id.source);
            let made = trace.made.of(&id.source);
            key.list(made.len());
            made.iter().for_each(|index| key.int(*index as i128));
        }
    }
    for (importing, imported) in &trace.imported {
        if names.contains(importing) {
            key.str(importing);
            key.str(imported);
        }
    }
}

impl FoundMacros {
    /// All macros that the key tells of: those found, and those of plain sources
    /// that are a part of it.
    pub(crate) fn known(
        self,
        shared: &Shared,
        state: &State<'_, '_>,
        is_plain: bool,
        dependencies: Option<&Dependencies>,
    ) -> KnownMacros {
        let mut sources: Vec<FragmentKey> = self.ids.iter().map(|id| id.source).collect();
        if let Some(trace) = Rendering::trace(state) {
            let own = trace.ran.iter().filter(|(name, _)| name == state.name());
            sources.extend(own.map(|(_, digest)| *digest));
            let all = Dependencies { named: Vec::new(), resolved: templates_of(trace, &self.ids) };
            let trusted = if is_plain { dependencies } else { Some(&all) };
            if let Some(trusted) = trusted {
                let trusted =
                    shared.with_versions(state, |versions| versions.trusted(state, trusted));
                sources.extend(trusted);
            }
        }
        KnownMacros { found: self.ids, sources }
    }
}

/// A search for macros in the values of names.
struct Search<'k> {
    key: &'k mut KeyWriter,
    found: FoundMacros,
    left: usize,
    name: String,
    /// Where in the value it is.
    path: Vec<Value>,
}

impl Search<'_> {
    fn look_up_all(&mut self, state: &State<'_, '_>, uses: &Uses<'_>) {
        if uses.any {
            for name in state.known_variables() {
                self.look_up(state, &name);
            }
        }
        for name in uses.names {
            self.look_up(state, name);
        }
    }

    fn look_up(&mut self, state: &State<'_, '_>, name: &str) {
        if let Some(value) = state.lookup(name)
            && value.as_object().is_some()
        {
            name.clone_into(&mut self.name);
            self.look_into(&value);
        }
    }

    /// Only values of the engine are looked into, because reading others could
    /// run a query.
    fn look_into(&mut self, value: &Value) {
        let Some(object) = value.as_object() else { return };
        if let Some(traced) = object.downcast_ref::<TracedMacro>() {
            return match traced.id {
                Some(id) => self.write(id),
                None => self.found.are_unclear = true,
            };
        }
        if is_macro(value) {
            self.found.are_unclear = true;
            return;
        }
        let kind = object.type_name();
        let is_map = matches!(own_type(value), Some("Namespace" | "Module" | "KwargsValues"))
            || kind.contains("Map<minijinja::value::Value, minijinja::value::Value");
        let is_list = matches!(own_type(value), Some("Tuple" | "GroupTuple"))
            || kind == std::any::type_name::<Vec<Value>>();
        if !is_list && !is_map {
            return;
        }
        for (place, item) in value.try_iter().into_iter().flatten().enumerate() {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let inner =
                if is_map { value.get_item(&item).unwrap_or_default() } else { item.clone() };
            if inner.as_object().is_some() {
                self.path.push(if is_map { item } else { Value::from(place) });
                self.look_into(&inner);
                self.path.pop();
            }
        }
    }

    fn write(&mut self, id: MacroId) {
        self.key.str(&self.name);
        self.key.list(self.path.len());
        self.path.iter().for_each(|item| self.key.str(&item.to_string()));
        self.key.key(&id.source);
        self.key.int(id.index as i128);
        if !self.found.ids.contains(&id) {
            self.found.ids.push(id);
        }
    }
}
