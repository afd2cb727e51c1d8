//! Which of several templates a Tera uses.

use std::collections::BTreeSet;

use cacheops::template::Syntax;
use tera::{Context, Tera};

use crate::source::{ByName, Source};

/// Which template Tera uses for a name, and whose component. Only Tera knows its
/// prefixes. So this asks a copy in which each template and each of its
/// components contains only its number.
#[derive(Debug)]
pub(crate) struct NameResolver {
    copy: Option<Tera>,
    names: Vec<String>,
}

impl NameResolver {
    /// `authors` are the templates that the Tera gets in addition to its own.
    pub(crate) fn of(tera: &Tera, sources: &ByName<Source>, syntax: &Syntax) -> Self {
        let own = tera.get_template_names().map(str::to_owned);
        let names = own.chain(sources.keys().cloned()).collect::<BTreeSet<_>>();
        let names: Vec<String> = names.into_iter().collect();
        let (start, end) = &syntax.block;
        let source = |(at, name): (usize, &String)| {
            let mut source = at.to_string();
            for defined in sources.get(name).iter().flat_map(|source| &source.defines) {
                source.push_str(&format!(
                    "{start} component {defined}() {end}{at}{start} endcomponent {defined} {end}"
                ));
            }
            source
        };
        let sources: Vec<_> = names.iter().enumerate().map(|one| (one.1, source(one))).collect();
        let mut copy = tera.clone();
        let is_taken = copy.add_raw_templates(sources).is_ok();
        NameResolver { copy: is_taken.then_some(copy), names }
    }

    pub(crate) fn template(&self, name: &str) -> Option<&str> {
        let number = self.copy.as_ref()?.render(name, &Context::new()).ok()?;
        self.name(&number)
    }

    /// The template that defines a component.
    pub(crate) fn definer(&self, component: &str) -> Option<&str> {
        let copy = self.copy.as_ref()?;
        let number = copy.render_component(component, &Context::new(), None, false).ok()?;
        self.name(&number)
    }

    fn name(&self, number: &str) -> Option<&str> {
        self.names.get(number.parse::<usize>().ok()?).map(String::as_str)
    }
}
