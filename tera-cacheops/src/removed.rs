//! Templates whose files are gone. A Tera cannot forget a template. So each gets
//! a source that fails, and no other template may use it.

use std::cell::LazyCell;
use std::sync::Arc;

use cacheops::template::Syntax;
use tera::{Error, ErrorKind, Tera};

use crate::errors;
use crate::loaded::{LoadedTemplate, sources_of};
use crate::name_resolver::NameResolver;
use crate::source::Source;
use crate::template_set::TemplateSet;

/// The replacement for a template whose file is gone. Rendering it reports that
/// there is no such template.
pub(crate) fn tombstone(before: &LoadedTemplate, syntax: &Syntax) -> LoadedTemplate {
    let (start, end) = &syntax.variable;
    let source = format!("{start} throw(message=\"the file of this template is gone\") {end}");
    LoadedTemplate::tombstone(before, source.into())
}

/// The mistake if a template uses one that is gone, as Tera itself would report
/// it; `held` are the templates that the Tera will have.
pub(crate) fn fault(tera: &Tera, template_set: &TemplateSet, syntax: &Syntax) -> Option<Error> {
    let may_be_removed = |name: &str| {
        !template_set.templates.contains_key(name)
            && template_set.removed.keys().any(|removed| removed.ends_with(name))
    };
    let resolver =
        LazyCell::new(|| NameResolver::of(tera, &sources_of(&template_set.templates), syntax));
    for (user, loaded) in &template_set.templates {
        let source = &loaded.source;
        for used in source.references.iter().filter(|used| may_be_removed(used)) {
            let found = resolver.template(used);
            if let Some(removed) = found.filter(|found| template_set.removed.contains_key(*found)) {
                return Some(unknown(user, source, used, removed, template_set));
            }
        }
    }
    None
}

fn unknown(
    user: &str,
    source: &Arc<Source>,
    used: &str,
    removed: &str,
    template_set: &TemplateSet,
) -> Error {
    let others = template_set.templates.keys().any(|other| other.ends_with(used));
    if source.extends.as_deref() == Some(used) && !others {
        let (current, parent) = (user.to_owned(), used.to_owned());
        return Error::new(ErrorKind::MissingParent { current, parent });
    }
    let mut detail = format!("Unknown template `{used}`: ");
    detail.push_str(&match others {
        false => "its file is gone".to_owned(),
        true => format!(
            "the file of `{removed}` is gone, and a Tera cannot forget a template: load all into a new one"
        ),
    });
    let lines = source.text.split('\n');
    let found = lines.enumerate().find(|(_, text)| errors::find_whole(text, used).is_some());
    errors::in_loading(user, &source.text, found.map_or(1, |(at, _)| at + 1), &detail)
}
