//! Invalidations that could not be delivered yet.

use crate::invalidate::Event;
use crate::value::Row;

/// An invalidation that is kept, with the prefix that held when it was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) prefix: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Rows { table: String, rows: Vec<Row> },
    Table(String),
    Name(String),
    Variant(String, Vec<u8>),
    Everything,
}

impl Kept {
    pub(crate) fn of(prefix: &str, event: &Event<'_>) -> Self {
        let what = match *event {
            Event::Rows { table, rows } => {
                What::Rows { table: table.to_owned(), rows: rows.to_vec() }
            }
            Event::Table(table) => What::Table(table.to_owned()),
            Event::Name(name) => What::Name(name.to_owned()),
            Event::Variant(name, variant) => What::Variant(name.to_owned(), variant.to_vec()),
            Event::Everything => What::Everything,
        };
        Kept { prefix: prefix.to_owned(), what }
    }

    pub(crate) fn event(&self) -> Event<'_> {
        match &self.what {
            What::Rows { table, rows } => Event::Rows { table, rows },
            What::Table(table) => Event::Table(table),
            What::Name(name) => Event::Name(name),
            What::Variant(name, variant) => Event::Variant(name, variant),
            What::Everything => Event::Everything,
        }
    }

    fn len(&self) -> usize {
        match &self.what {
            What::Rows { rows, .. } => rows.len(),
            _ => 1,
        }
    }

    fn widened(self) -> Self {
        match self.what {
            What::Rows { table, .. } => Kept { what: What::Table(table), ..self },
            _ => self,
        }
    }
}

/// Invalidations in their order, bounded: where there are too many, they are
/// replaced by wider ones. None is ever lost.
#[derive(Debug)]
pub(crate) struct Pending {
    kept: Vec<Kept>,
    limit: usize,
}

impl Pending {
    pub(crate) fn new(limit: usize) -> Self {
        Pending { kept: Vec::new(), limit }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many rows, tables and names are waiting.
    pub(crate) fn len(&self) -> usize {
        self.kept.iter().map(Kept::len).sum()
    }

    pub(crate) fn push(&mut self, event: Kept) {
        if self.kept.last() == Some(&event) {
            return;
        }
        self.kept.push(event);
        if self.len() > self.limit {
            self.widen_rows();
        }
        if self.len() > self.limit {
            self.kept = vec![Kept { prefix: String::new(), what: What::Everything }];
        }
    }

    /// Turns rows into their tables, each once, in the place of its first.
    fn widen_rows(&mut self) {
        let mut wide: Vec<Kept> = Vec::new();
        for kept in self.kept.drain(..) {
            let kept = kept.widened();
            if !wide.contains(&kept) {
                wide.push(kept);
            }
        }
        self.kept = wide;
    }

    /// Takes all that is there.
    pub(crate) fn take(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.kept)
    }

    /// Puts back, in front, what could not be delivered after all.
    pub(crate) fn put_back(&mut self, mut kept: Vec<Kept>) {
        kept.append(&mut self.kept);
        self.kept = kept;
        if self.len() > self.limit {
            self.widen_rows();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Pending};
    use crate::invalidate::Event;
    use crate::value::Row;

    fn rows(table: &str, count: usize) -> Kept {
        Kept::of("", &Event::Rows { table, rows: &vec![Row::default(); count] })
    }

    fn table(name: &str) -> Kept {
        Kept::of("", &Event::Table(name))
    }

    fn name(name: &str) -> Kept {
        Kept::of("", &Event::Name(name))
    }

    #[test]
    fn too_many_become_wider_and_none_is_lost() {
        let mut pending = Pending::new(5);
        pending.push(rows("a", 3));
        pending.push(name("n"));
        pending.push(rows("b", 1));
        assert_eq!(pending.len(), 5);
        pending.push(rows("a", 1));
        assert_eq!(pending.kept, [table("a"), name("n"), table("b")]);
        for n in 0..9 {
            pending.push(name(&n.to_string()));
        }
        assert_eq!(pending.kept[0], Kept::of("", &Event::Everything));
        assert!(pending.len() <= 5);
    }

    #[test]
    fn what_comes_back_comes_first() {
        let mut pending = Pending::new(5);
        pending.push(name("old"));
        let taken = pending.take();
        pending.push(name("new"));
        pending.put_back(taken);
        assert_eq!(pending.kept, [name("old"), name("new")]);
    }
}
