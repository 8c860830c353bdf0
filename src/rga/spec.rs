//! The definition of the sequence: a map of nodes and the walk over their tree.
//!
//! Source: RGA (Roh et al., JPDC 2011) as a timestamped insertion tree (Attiya et al., PODC 2016, section 5).
//! Written to be read, not to be fast: the shipped [`Rga`](super::Rga) must equal it under model and property tests.
//! Nothing that serves uses it.

use std::collections::BTreeMap;

use crate::id::ElementId;
use crate::op::Edit;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: ElementId,
    value: char,
}

/// A document by definition: inserted nodes, and deleted ids. Takes edits in any order, any number of times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SpecRga {
    nodes: BTreeMap<ElementId, Node>,
    deleted: std::collections::BTreeSet<ElementId>,
}

impl SpecRga {
    /// Adds one edit. What it refers to may come later: a node shows once its ancestors are there.
    pub fn integrate(&mut self, edit: &Edit) {
        match edit {
            Edit::Insert { parent, id, text } => {
                let mut parent = parent.clone();
                for (distance, value) in (0..).zip(text.chars()) {
                    let Some(id) = id.checked_add(distance) else { return };
                    self.nodes.entry(id.clone()).or_insert(Node { parent, value });
                    parent = id;
                }
            }
            Edit::Delete { id, len } => {
                self.deleted.extend((0..u64::from(*len)).filter_map(|distance| id.checked_add(distance)));
            }
        }
    }

    /// Every element that can be reached from the root, in document order; `None` stands for a tombstone's value.
    pub fn elements(&self) -> Vec<(ElementId, Option<char>)> {
        let mut children: BTreeMap<&ElementId, Vec<&ElementId>> = BTreeMap::new();
        for (id, node) in &self.nodes {
            children.entry(&node.parent).or_default().push(id);
        }
        for siblings in children.values_mut() {
            // The first sibling in document order goes last, because the walk takes from the end.
            siblings.sort_by(|a, b| {
                if a.precedes_sibling(b) { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
            });
        }
        let root = ElementId::root();
        let mut walk: Vec<&ElementId> = children.get(&root).cloned().unwrap_or_default();
        let mut order = Vec::new();
        while let Some(id) = walk.pop() {
            let value = (!self.deleted.contains(id)).then(|| self.nodes[id].value);
            order.push((id.clone(), value));
            walk.extend(children.get(id).into_iter().flatten());
        }
        order
    }

    /// The visible text.
    pub fn text(&self) -> String {
        self.elements().into_iter().filter_map(|(_, value)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;

    fn insert(parent: ElementId, id: &ElementId, text: &str) -> Edit {
        Edit::Insert { parent, id: id.clone(), text: text.into() }
    }

    /// The case in which we differ from the reference system, which answers "ABC".
    #[test]
    fn newest_siblings_come_first() {
        let (a, b) = (ReplicaId::new("a"), ReplicaId::new("b"));
        let mut spec = SpecRga::default();
        spec.integrate(&insert(ElementId::root(), &ElementId::new(1, &a), "A"));
        spec.integrate(&insert(ElementId::root(), &ElementId::new(1, &b), "B"));
        spec.integrate(&insert(ElementId::root(), &ElementId::new(2, &a), "C"));
        assert_eq!(spec.text(), "CAB");
    }

    #[test]
    fn the_middle_of_a_word_can_be_reached() {
        let a = ReplicaId::new("a");
        let mut spec = SpecRga::default();
        spec.integrate(&insert(ElementId::root(), &ElementId::new(1, &a), "helo"));
        spec.integrate(&insert(ElementId::new(3, &a), &ElementId::new(5, &a), "l"));
        spec.integrate(&Edit::Delete { id: ElementId::new(1, &a), len: 1 });
        assert_eq!(spec.text(), "ello");
    }
}
