//! Process memory in front of the store: stamps as objects, and the fragments
//! under them. As in [`MemoryStore`](crate::store::MemoryStore), an object is in
//! its place before its token is requested, and whoever learns that its key has
//! changed drops it.

use super::names::{Key, STAMPS, Tok, number, token};
use crate::protocol::{SchemeState, is_leased, is_other_epoch, stands_for};

/// The position of an object in its process.
pub(super) type Obj = u8;

/// A stamp in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) key: Key,
    pub(super) token: Option<Tok>,
    pub(super) dropped: bool,
    pub(super) parent: Option<Obj>,
    /// Whether its scheme was registered by a lease that settled it.
    pub(super) registered: bool,
    /// For the stamp of everything.
    pub(super) session: u8,
}

/// A fragment in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fragment {
    /// The version of the data that it was made from.
    pub(super) version: u8,
    pub(super) stamps: Vec<Obj>,
}

/// The memory of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Near {
    pub(super) session: u8,
    pub(super) objects: Vec<Object>,
    pub(super) everything: Obj,
    pub(super) epoch: Option<Obj>,
    pub(super) stamps: [Option<Obj>; STAMPS],
    pub(super) fragments: [Option<Fragment>; 2],
}

impl Near {
    pub(super) fn new(session: u8) -> Self {
        let mut near = Near {
            session,
            objects: Vec::new(),
            everything: 0,
            epoch: None,
            stamps: [None; STAMPS],
            fragments: [None, None],
        };
        near.everything = near.add(Key::All, None);
        near
    }

    fn add(&mut self, key: Key, parent: Option<Obj>) -> Obj {
        let session = if key == Key::All { self.session } else { 0 };
        let registered = false;
        self.objects.push(Object { key, token: None, dropped: false, parent, registered, session });
        (self.objects.len() - 1) as Obj
    }

    pub(super) fn object(&self, obj: Obj) -> &Object {
        &self.objects[usize::from(obj)]
    }

    fn drop_it(&mut self, obj: Obj) {
        self.objects[usize::from(obj)].dropped = true;
    }

    pub(super) fn is_current(&self, obj: Obj) -> bool {
        let object = self.object(obj);
        !object.dropped && object.parent.is_none_or(|parent| self.is_current(parent))
    }

    pub(super) fn are_current(&self, stamps: &[Obj]) -> bool {
        stamps.iter().all(|obj| self.is_current(*obj))
    }

    pub(super) fn session_of(&self, obj: Obj) -> u8 {
        let object = self.object(obj);
        object.parent.map_or(object.session, |parent| self.session_of(parent))
    }

    /// The object of `key`, created if there is none.
    pub(super) fn at(&mut self, key: Key, parent: Obj) -> Obj {
        match key {
            Key::All => self.everything,
            Key::Registry => match self.epoch.filter(|obj| self.is_current(*obj)) {
                Some(epoch) => epoch,
                None => {
                    let epoch = self.add(key, Some(self.everything));
                    self.epoch = Some(epoch);
                    epoch
                }
            },
            Key::Stamp(n) => {
                let n = usize::from(n);
                if let Some(obj) = self.stamps[n] {
                    if self.object(obj).parent == Some(parent) {
                        return obj;
                    }
                    self.drop_it(obj);
                }
                let obj = self.add(key, Some(parent));
                self.stamps[n] = Some(obj);
                obj
            }
            Key::Value(_) => panic!("no stamp"),
        }
    }

    /// A replacement for `obj`, created if `obj` is dropped. Only a broken
    /// protocol does this.
    pub(super) fn again(&mut self, obj: Obj) -> Obj {
        if self.is_current(obj) {
            return obj;
        }
        let Object { key, parent, .. } = *self.object(obj);
        let parent = parent.map_or(self.everything, |parent| self.again(parent));
        self.at(key, parent)
    }

    /// Takes the stamps of a fill.
    pub(super) fn lease(&mut self, schemes: impl Iterator<Item = u8>) -> Vec<Obj> {
        let epoch = self.at(Key::Registry, self.everything);
        schemes.map(|n| self.at(Key::Stamp(n), epoch)).collect()
    }

    /// Objects and all their ancestors, parents first, each once.
    pub(super) fn lineage(&self, stamps: &[Obj]) -> Vec<Obj> {
        let mut line = Vec::new();
        stamps.iter().for_each(|obj| self.add_line(*obj, &mut line));
        line
    }

    fn add_line(&self, obj: Obj, line: &mut Vec<Obj>) {
        if line.contains(&obj) {
            return;
        }
        if let Some(parent) = self.object(obj).parent {
            self.add_line(parent, line);
        }
        line.push(obj);
    }

    /// Drops the object of a key that has changed, or may have.
    pub(super) fn key_changed(&mut self, key: Key) {
        match key {
            Key::All => self.replace_everything(),
            Key::Registry => self.epoch.into_iter().for_each(|obj| self.drop_it(obj)),
            Key::Stamp(n) => {
                let dropped = self.stamps[usize::from(n)].take();
                dropped.into_iter().for_each(|obj| self.drop_it(obj));
            }
            Key::Value(_) => {}
        }
    }

    pub(super) fn replace_everything(&mut self) {
        self.drop_it(self.everything);
        self.everything = self.add(Key::All, None);
    }

    pub(super) fn begin_session(&mut self, session: u8) {
        self.session = session;
        self.replace_everything();
    }

    /// Drops an object that was found not to be the current one.
    pub(super) fn drop_object(&mut self, obj: Obj) {
        match self.object(obj).key {
            Key::All if self.everything == obj => return self.replace_everything(),
            Key::All => return,
            Key::Stamp(n) if self.stamps[usize::from(n)] == Some(obj) => {
                self.stamps[usize::from(n)] = None;
            }
            _ => {}
        }
        self.drop_it(obj);
    }

    /// Drops the epoch unless it is the one that a sweep has found.
    pub(super) fn drop_other_epoch(&mut self, found: Option<Tok>) {
        let other =
            |obj: &Obj| is_other_epoch(self.object(*obj).token.map(token), found.map(token));
        if let Some(epoch) = self.epoch.filter(other) {
            self.drop_it(epoch);
        }
    }

    /// Stores the token of an object; false if the object cannot have it.
    pub(super) fn settle(&mut self, obj: Obj, found: Option<Tok>) -> bool {
        let object = &mut self.objects[usize::from(obj)];
        if object.token.is_none() {
            object.token = found;
        }
        stands_for(object.token.map(token), found.map(token))
    }

    /// Records that a lease has registered the scheme of an object.
    pub(super) fn note_registered(&mut self, obj: Obj) {
        self.objects[usize::from(obj)].registered = true;
    }

    /// Whether a fill can depend on an object without a request.
    pub(super) fn is_leased(&self, obj: Obj) -> bool {
        let object = self.object(obj);
        let scheme = match object.key {
            Key::Stamp(_) if object.registered => SchemeState::Registered,
            Key::Stamp(_) => SchemeState::Unknown,
            _ => SchemeState::NotNeeded,
        };
        is_leased(self.known(obj), scheme)
    }

    /// The token of a stamp as the shipped code has it.
    pub(super) fn known(&self, obj: Obj) -> Option<crate::protocol::Token> {
        self.object(obj).token.map(token)
    }

    /// The tokens that a fragment is stored with: of everything, of the
    /// epoch, of the others. `None` if one is missing.
    pub(super) fn tokens(&self, stamps: &[Obj]) -> Option<(Tok, Tok, [Option<Tok>; STAMPS])> {
        let (mut all, mut epoch, mut plain) = (None, None, [None; STAMPS]);
        for obj in self.lineage(stamps) {
            let found = number(self.known(obj)?);
            match self.object(obj).key {
                Key::All => all = Some(found),
                Key::Registry => epoch = Some(found),
                Key::Stamp(n) => plain[usize::from(n)] = Some(found),
                Key::Value(_) => {}
            }
        }
        Some((all?, epoch?, plain))
    }
}
