//! Queued invalidations, which could not be delivered yet.

use crate::write::invalidation::Invalidation;

/// A bounded queue. If there are too many invalidations, wider ones replace them; none
/// is lost.
#[derive(Debug)]
pub(crate) struct Pending {
    queue: Vec<Invalidation>,
    /// How many rows, tables and names are being delivered.
    under_way: usize,
    limit: usize,
}

impl Pending {
    pub(crate) fn new(limit: usize) -> Self {
        Pending { queue: Vec::new(), under_way: 0, limit }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many rows, tables and names are not delivered yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting() + self.under_way
    }

    fn waiting(&self) -> usize {
        self.queue.iter().map(Invalidation::len).sum()
    }

    pub(crate) fn push(&mut self, invalidation: Invalidation) {
        if self.queue.last() == Some(&invalidation) {
            return;
        }
        self.queue.push(invalidation);
        if self.waiting() > self.limit {
            self.widen_rows();
        }
        if self.waiting() > self.limit {
            self.queue = vec![Invalidation::everything()];
        }
    }

    /// Replaces rows by their tables, each once, at the position of its first row.
    fn widen_rows(&mut self) {
        let mut wide: Vec<Invalidation> = Vec::new();
        for queue in self.queue.drain(..) {
            let queue = queue.widened();
            if !wide.contains(&queue) {
                wide.push(queue);
            }
        }
        self.queue = wide;
    }

    /// Takes all invalidations, to deliver them.
    pub(crate) fn take(&mut self) -> Vec<Invalidation> {
        self.under_way = self.waiting();
        std::mem::take(&mut self.queue)
    }

    /// Counts this many of the taken rows, tables and names as delivered.
    pub(crate) fn delivered(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
    }

    /// Puts back, in front, what could not be delivered.
    pub(crate) fn put_back(&mut self, mut queue: Vec<Invalidation>) {
        queue.append(&mut self.queue);
        self.queue = queue;
        self.under_way = 0;
        if self.waiting() > self.limit {
            self.widen_rows();
        }
    }

    /// [`put_back`](Self::put_back) with the first widened to its table, since it took
    /// too long: to drop a table takes one command.
    pub(crate) fn put_back_widened(&mut self, mut queue: Vec<Invalidation>) {
        if !queue.is_empty() {
            let first = queue.remove(0).widened();
            queue.insert(0, first);
        }
        self.put_back(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::{Invalidation, Pending};
    use crate::value::Row;
    use crate::write::invalidation::Subject;

    fn of(subject: Subject) -> Invalidation {
        Invalidation { prefix: String::new(), subject }
    }

    fn rows(table: &str, count: usize) -> Invalidation {
        of(Subject::Rows { table: table.to_owned(), rows: vec![Row::default(); count] })
    }

    fn table(name: &str) -> Invalidation {
        of(Subject::Table(name.to_owned()))
    }

    fn name(name: &str) -> Invalidation {
        of(Subject::Fragment(name.to_owned()))
    }

    #[test]
    fn too_many_become_wider_and_none_is_lost() {
        let mut pending = Pending::new(5);
        pending.push(rows("a", 3));
        pending.push(name("n"));
        pending.push(rows("b", 1));
        assert_eq!(pending.len(), 5);
        pending.push(rows("a", 1));
        assert_eq!(pending.queue, [table("a"), name("n"), table("b")]);
        for n in 0..9 {
            pending.push(name(&n.to_string()));
        }
        assert_eq!(pending.queue[0], Invalidation::everything());
        assert!(pending.len() <= 5);
    }

    #[test]
    fn what_comes_back_comes_first() {
        let mut pending = Pending::new(5);
        pending.push(name("old"));
        let taken = pending.take();
        assert_eq!(pending.len(), 1);
        pending.push(name("new"));
        assert_eq!(pending.len(), 2);
        pending.put_back(taken);
        assert_eq!(pending.queue, [name("old"), name("new")]);
    }

    #[test]
    fn what_takes_too_long_becomes_its_table() {
        let mut pending = Pending::new(5);
        pending.push(rows("a", 2));
        pending.push(rows("b", 2));
        let taken = pending.take();
        pending.put_back_widened(taken);
        assert_eq!(pending.queue, [table("a"), rows("b", 2)]);
    }
}
