//! Templates whose files are gone. A Tera cannot forget a template, so each
//! gets a source that fails, and no other may use it.

use std::cell::LazyCell;
use std::sync::Arc;

use cacheops::template::Syntax;
use tera::{Error, ErrorKind, Tera};

use crate::author::Author;
use crate::choices::Choices;
use crate::errors;
use crate::held::Held;
use crate::library::{Loaded, authors_of};

/// What a template becomes whose file is gone. Who renders it is told that
/// there is none.
pub(crate) fn tombstone(before: &Loaded, syntax: &Syntax) -> Loaded {
    let (start, end) = &syntax.variable;
    let source = format!("{start} throw(message=\"the file of this template is gone\") {end}");
    Loaded::tombstone(before, source.into())
}

/// What is wrong where a template uses one that is gone, as Tera itself would
/// say; `held` is what the Tera is to hold.
pub(crate) fn fault(tera: &Tera, held: &Held, syntax: &Syntax) -> Option<Error> {
    let may_be_gone = |name: &str| {
        !held.templates.contains_key(name) && held.gone.keys().any(|gone| gone.ends_with(name))
    };
    let choices = LazyCell::new(|| Choices::of(tera, &authors_of(&held.templates), syntax));
    for (user, loaded) in &held.templates {
        let author = &loaded.author;
        for used in author.references.iter().filter(|used| may_be_gone(used)) {
            let found = choices.template(used);
            if let Some(gone) = found.filter(|found| held.gone.contains_key(*found)) {
                return Some(unknown(user, author, used, gone, held));
            }
        }
    }
    None
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
