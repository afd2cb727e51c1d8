//! A rendering: what the plugin keeps in the engine's state.
//!
//! A fill is stored here only. A variable of the template holds only its number:
//! in debug mode an error copies variables, and whoever keeps the error would
//! keep the fill.

use cacheops::template::Mark;
use cacheops::{Fill, FragmentKey, Page};
use minijinja::State;

use crate::dependencies::Version;
use crate::fragment::PrintMode;
use crate::guards::Namespaces;
use crate::shared::Shared;
use crate::templates::Dependencies;
use crate::traced_macro::{MacroId, TracedMacro};

/// The data of a rendering, until its state is dropped.
pub(crate) struct Rendering {
    /// The page of the rendering.
    pub(crate) page: Page,
    pub(crate) trace: Trace,
    /// The bodies that have begun and not ended, the innermost last.
    bodies: Vec<Body>,
    /// How many have begun.
    count: u64,
    /// The fill of a body that has ended, until it is printed.
    pub(crate) unprinted: Option<Fill>,
    /// How the formatter prints a fragment.
    pub(crate) print_mode: Option<PrintMode>,
}

/// The templates that a rendering has used.
#[derive(Default)]
pub(crate) struct Trace {
    /// Those that extend or are extended, by their resolved names.
    pub(crate) chain: Vec<String>,
    /// The last of them that is extended and has not begun.
    pub(crate) parent: Option<String>,
    /// The template that extends it, until that has run to its end.
    pub(crate) child: Option<String>,
    /// Whether one of them also began by itself.
    pub(crate) is_unclear: bool,
    /// How many times a template that nobody extends here began to extend
    /// another.
    pub(crate) inheritances: usize,
    /// Those that are imported by a name that is known only in rendering.
    pub(crate) imports: Vec<String>,
    /// Those with macros that their includes may call.
    pub(crate) macros: Vec<String>,
    /// The macros that were made.
    pub(crate) made: MadeMacros,
    /// Which template imported which, by their resolved names.
    pub(crate) imported: Vec<(String, String)>,
    /// The template that is imported next.
    pub(crate) importing: Option<String>,
    /// Whether there may be macros of which nothing is known: the `caller` of
    /// one under another name, or those of a template around that was not loaded
    /// through the plugin.
    pub(crate) has_untraced: bool,
    /// The templates that began, with the sources that run.
    pub(crate) ran: Vec<(String, FragmentKey)>,
}

impl Trace {
    /// Records the source of a template that runs. If it ran before with
    /// another source, both stay recorded.
    pub(crate) fn note(&mut self, name: &str, digest: FragmentKey) {
        if !self.has_run(name, &digest) {
            self.ran.push((name.to_owned(), digest));
        }
    }

    /// Whether a template has run with this source.
    pub(crate) fn has_run(&self, name: &str, digest: &FragmentKey) -> bool {
        self.ran.iter().any(|(other, before)| before == digest && other == name)
    }

    /// Whether a template has run with another source.
    pub(crate) fn has_run_otherwise(&self, name: &str, digest: Option<&FragmentKey>) -> bool {
        self.ran.iter().any(|(other, before)| other == name && Some(before) != digest)
    }
}

/// The macros that a rendering made, by their sources.
#[derive(Default)]
pub(crate) struct MadeMacros(Vec<(FragmentKey, Vec<usize>)>);

impl MadeMacros {
    pub(crate) fn add(&mut self, id: MacroId) {
        match self.0.iter_mut().rev().find(|(source, _)| *source == id.source) {
            Some((_, indexes)) if indexes.contains(&id.index) => {}
            Some((_, indexes)) => indexes.push(id.index),
            None => self.0.push((id.source, vec![id.index])),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a source.
    pub(crate) fn of(&self, source: &FragmentKey) -> &[usize] {
        let found = self.0.iter().find(|(other, _)| other == source);
        found.map_or(&[], |(_, indexes)| indexes)
    }
}

/// A body that runs.
struct Body {
    number: u64,
    pending: Option<PendingFill>,
    mark: Option<Mark>,
}

/// A fill, and what its key contains about the sources of other templates.
pub(crate) struct PendingFill {
    pub(crate) fill: Fill,
    /// The tag, as the author wrote it.
    pub(crate) tag: String,
    /// The templates, and their version at the beginning.
    pub(crate) sources: Option<(Dependencies, Version)>,
    /// The contents of the namespaces around it.
    pub(crate) namespaces: Option<Namespaces>,
    /// The macros of which its key tells.
    pub(crate) macros: KnownMacros,
    /// Whether it called another macro.
    pub(crate) is_doubtful: bool,
}

/// The macros of which a key tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownMacros {
    /// Those that its names hold.
    pub(crate) found: Vec<MacroId>,
    /// Sources that are a part of it.
    pub(crate) sources: Vec<FragmentKey>,
}

impl KnownMacros {
    fn contains(&self, id: &MacroId) -> bool {
        self.found.contains(id) || (id.is_plain && self.sources.contains(&id.source))
    }
}

impl Rendering {
    /// The rendering of a state, which begins if there is none.
    pub(crate) fn of<'s>(shared: &Shared, state: &'s mut State<'_, '_>) -> &'s mut Rendering {
        let rendering = state.get_or_insert_extension_with(|| Rendering {
            page: shared.cache.page(),
            trace: Trace::default(),
            bodies: Vec::new(),
            count: 0,
            unprinted: None,
            print_mode: None,
        });
        // A state may be kept, and go on in another thread.
        rendering.page.enter();
        rendering
    }

    /// The templates that the rendering of a state has used.
    pub(crate) fn trace<'s>(state: &'s State<'_, '_>) -> Option<&'s Trace> {
        state.get_extension::<Rendering>().map(|rendering| &rendering.trace)
    }

    /// Begins a body. Returns the number that ends it, which is above zero.
    pub(crate) fn begin(&mut self, pending: Option<PendingFill>, mark: Option<Mark>) -> u64 {
        self.unprinted = None;
        self.count += 1;
        if let Some(pending) = &pending {
            pending.fill.enter();
        }
        self.bodies.push(Body { number: self.count, pending, mark });
        self.count
    }

    /// How many bodies have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.count
    }

    /// Records that a macro is called. A body that calls one which was made
    /// before it, and of which its key tells nothing, is not stored: the next
    /// rendering may have another one in the place.
    pub(crate) fn calls(&mut self, called: &TracedMacro) {
        for body in &mut self.bodies {
            let Some(pending) = &mut body.pending else { continue };
            let is_known = called.made_at >= body.number
                || called.id.is_some_and(|id| pending.macros.contains(&id));
            pending.is_doubtful |= !is_known;
        }
    }

    /// Ends the body of a number, and abandons inner bodies that have not
    /// ended because the template hides their error. `None` if there is no
    /// body of the number.
    pub(crate) fn end(&mut self, number: u64) -> Option<(Option<PendingFill>, Option<Mark>)> {
        self.unprinted = None;
        let place = self.bodies.iter().rposition(|body| body.number == number)?;
        self.give_up(place + 1);
        self.bodies.pop().map(|body| (body.pending, body.mark))
    }

    /// The innermost first, so that each is abandoned into the one around it.
    fn give_up(&mut self, keep: usize) {
        while self.bodies.len() > keep {
            self.bodies.pop();
        }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        self.unprinted = None;
        self.give_up(0);
    }
}
