//! The reference's sequence: a tree of elements and the walk over it, small enough to be read.

use std::collections::BTreeMap;

/// Names an element, and orders it among its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The logical clock of its maker.
    pub lamport: u8,
    /// Its maker.
    pub client: u8,
}

/// An insertion of one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Insert {
    /// The element that it makes.
    pub id: Id,
    /// The element it goes behind; the root if there is none.
    pub parent: Option<Id>,
    /// The character.
    pub value: char,
}

/// In which order the children of one parent stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Siblings {
    /// Smaller lamport first: the reference.
    Ascending,
    /// Higher lamport first; of equal ones the smaller client first.
    NewestFirst,
}

/// A character as it is displayed. One without an id cannot be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The character.
    pub value: char,
    /// Its element, if that is known.
    pub id: Option<Id>,
}

/// A document: elements, and characters of which nothing but the value is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text {
    elements: BTreeMap<Id, Insert>,
    nameless: String,
}

impl Text {
    /// A document of characters without ids, as a text-only resync leaves it.
    pub fn nameless(text: String) -> Self {
        Self { elements: BTreeMap::new(), nameless: text }
    }

    /// Takes in an insertion; one that is there already changes nothing, one whose parent is missing waits.
    pub fn integrate(&mut self, insert: Insert) {
        self.elements.entry(insert.id).or_insert(insert);
    }

    /// The highest lamport in it.
    pub fn lamport_max(&self) -> u8 {
        self.elements.keys().map(|id| id.lamport).max().unwrap_or(0)
    }

    /// The characters in order: the depth-first walk of the tree, parent before children. What hangs on the root stands
    /// before characters without ids, whose places in the tree are unknown.
    pub fn shown(&self, siblings: Siblings) -> Vec<Shown> {
        let mut shown = Vec::new();
        let mut open = self.children(None, siblings);
        while let Some(insert) = open.pop() {
            shown.push(Shown { value: insert.value, id: Some(insert.id) });
            open.extend(self.children(Some(insert.id), siblings));
        }
        shown.extend(self.nameless.chars().map(|value| Shown { value, id: None }));
        shown
    }

    /// The children of an element, the last one first.
    fn children(&self, parent: Option<Id>, siblings: Siblings) -> Vec<Insert> {
        let mut children: Vec<Insert> =
            self.elements.values().filter(|insert| insert.parent == parent).copied().collect();
        match siblings {
            Siblings::Ascending => children.sort_by_key(|insert| std::cmp::Reverse(insert.id)),
            Siblings::NewestFirst => {
                children.sort_by_key(|insert| (insert.id.lamport, std::cmp::Reverse(insert.id.client)));
            }
        }
        children
    }

    /// The characters alone.
    pub fn string(&self, siblings: Siblings) -> String {
        self.shown(siblings).iter().map(|shown| shown.value).collect()
    }
}

impl FromIterator<Insert> for Text {
    fn from_iter<I: IntoIterator<Item = Insert>>(inserts: I) -> Self {
        let mut text = Self::default();
        inserts.into_iter().for_each(|insert| text.integrate(insert));
        text
    }
}
