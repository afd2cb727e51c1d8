//! Templates whose files are gone. A Tera cannot forget a template, so each
//! gets a source that fails, and no other may use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cacheops::template::Syntax;
use tera::{Context, Error, ErrorKind, Tera};

use crate::author::Author;
use crate::errors;
use crate::held::Held;
use crate::library::Loaded;

/// What a template becomes whose file is gone. Who renders it is told that
/// there is none.
pub(crate) fn tombstone(before: &Loaded, syntax: &Syntax) -> Loaded {
    let (start, end) = &syntax.variable;
    let source = format!("{start} throw(message=\"the file of this template is gone\") {end}");
    Loaded::tombstone(before, source.into())
}

/// What is wrong where a template uses one that is gone, as Tera itself would
/// say; `held` is what the Tera is to hold.
pub(crate) fn fault(tera: &Tera, held: &Held) -> Option<Error> {
    let may_be_gone = |name: &str| {
        !held.templates.contains_key(name) && held.gone.keys().any(|gone| gone.ends_with(name))
    };
    let mut names = None;
    for (user, loaded) in &held.templates {
        let author = &loaded.author;
        for used in author.references.iter().filter(|used| may_be_gone(used)) {
            let found = names.get_or_insert_with(|| Found::of(tera, held)).resolve(used);
            if let Some(gone) = found.filter(|found| held.gone.contains_key(*found)) {
                return Some(unknown(user, author, used, gone, held));
            }
        }
    }
    None
}

/// Which template Tera takes for a name. It alone knows its prefixes, so a
/// copy is asked in which each template holds no more than its number.
struct Found {
    copy: Option<Tera>,
    names: Vec<String>,
}

impl Found {
    fn of(tera: &Tera, held: &Held) -> Self {
        let own = tera.get_template_names().map(str::to_owned);
        let names = own.chain(held.templates.keys().cloned()).chain(held.gone.keys().cloned());
        let names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
        let mut copy = tera.clone();
        let numbers = names.iter().enumerate().map(|(at, name)| (name, at.to_string()));
        let is_taken = copy.add_raw_templates(numbers).is_ok();
        Found { copy: is_taken.then_some(copy), names }
    }

    fn resolve(&self, name: &str) -> Option<&str> {
        let number = self.copy.as_ref()?.render(name, &Context::new()).ok()?;
        self.names.get(number.parse::<usize>().ok()?).map(String::as_str)
    }
}

fn unknown(user: &str, author: &Arc<Author>, used: &str, gone: &str, held: &Held) -> Error {
    let others = held.templates.keys().any(|other| other.ends_with(used));
    if author.extends.as_deref() == Some(used) && !others {
        let (current, parent) = (user.to_owned(), used.to_owned());
        return Error::new(ErrorKind::MissingParent { current, parent });
    }
    let mut detail = format!("Unknown template `{used}`: ");
    detail.push_str(&match others {
        false => "its file is gone".to_owned(),
        true => format!(
            "the file of `{gone}` is gone, and a Tera cannot forget a template: load all into a new one"
        ),
    });
    let lines = author.text.split('\n');
    let found = lines.enumerate().find(|(_, text)| errors::find_whole(text, used).is_some());
    errors::in_loading(user, &author.text, found.map_or(1, |(at, _)| at + 1), &detail)
}
