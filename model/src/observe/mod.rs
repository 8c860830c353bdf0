//! The strong list specification, judged from outside: whether one order of all elements agrees with every list that any
//! replica ever displayed. It knows nothing of the editor.
//!
//! Attiya, Burckhardt, Gotsman, Morrison, Yang, Zawirski: Specification and complexity of collaborative text editing,
//! PODC 2016. An order exists exactly if "displayed before", taken over all lists, has no cycle. Edges between
//! neighbours are enough, since all others follow from them; so the work grows with the input, not with its square.

mod cycle;
mod read;

use std::collections::HashMap;

pub use read::{ReadError, read};

/// Lists that were displayed.
#[derive(Clone, Debug, Default)]
pub struct History {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The lists, one behind the other.
    shown: Vec<u32>,
    /// Where each list ends.
    ends: Vec<usize>,
}

/// One element was displayed before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// In which list, from 1.
    pub display: usize,
}

/// What a history is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One order of all elements agrees with every list.
    Ordered,
    /// An element stands twice in one list.
    Twice {
        /// The element.
        element: String,
        /// In which list, from 1.
        display: usize,
    },
    /// No order does: each element was displayed before the next, and the last before the first.
    Cyclic(Vec<Before>),
}

impl History {
    /// Adds a list of elements.
    pub fn add<S: Into<String>>(&mut self, elements: impl IntoIterator<Item = S>) {
        for element in elements {
            let element = element.into();
            let next = self.names.len() as u32;
            let number = *self.numbers.entry(element).or_insert_with_key(|element| {
                self.names.push(element.clone());
                next
            });
            self.shown.push(number);
        }
        self.ends.push(self.shown.len());
    }

    /// How many lists there are.
    pub fn display_count(&self) -> usize {
        self.ends.len()
    }

    /// How many different elements there are.
    pub fn element_count(&self) -> usize {
        self.names.len()
    }

    /// The lists.
    fn displays(&self) -> impl Iterator<Item = &[u32]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.shown[begin..*end])
    }

    /// Judges the history.
    pub fn judge(&self) -> Verdict {
        let mut last_in = vec![0; self.names.len()];
        for (display, list) in (1..).zip(self.displays()) {
            for element in list {
                if std::mem::replace(&mut last_in[*element as usize], display) == display {
                    return Verdict::Twice { element: self.names[*element as usize].clone(), display };
                }
            }
        }
        let name = |element: u32| self.names[element as usize].clone();
        match self.find_cycle() {
            None => Verdict::Ordered,
            Some(cycle) => Verdict::Cyclic(
                cycle
                    .into_iter()
                    .map(|(first, second, display)| Before { first: name(first), second: name(second), display })
                    .collect(),
            ),
        }
    }

    fn find_cycle(&self) -> Option<Vec<(u32, u32, usize)>> {
        let mut edges: Vec<(u32, u32)> = Vec::new();
        for list in self.displays() {
            edges.extend(list.windows(2).map(|pair| (pair[0], pair[1])));
        }
        edges.sort_unstable();
        edges.dedup();
        let among = cycle::find(self.names.len(), &edges)?;
        Some(self.shorten(&among))
    }

    /// Makes a cycle of neighbours one of as few displays as its elements allow. Its elements are distinct.
    fn shorten(&self, among: &[u32]) -> Vec<(u32, u32, usize)> {
        let places: HashMap<u32, u32> = among.iter().copied().zip(0..).collect();
        // Which of them was displayed before which, and where first.
        let mut before: HashMap<(u32, u32), usize> = HashMap::new();
        for (display, list) in (1..).zip(self.displays()) {
            let found: Vec<u32> = list.iter().filter_map(|element| places.get(element).copied()).collect();
            for (index, first) in found.iter().enumerate() {
                // Neighbours are enough for a cycle, all pairs for a short one; a long list gives only the former.
                let reach = if found.len() <= PAIRS_MAX { found.len() } else { (index + 2).min(found.len()) };
                for second in &found[index + 1..reach] {
                    before.entry((*first, *second)).or_insert(display);
                }
            }
        }
        let mut edges: Vec<(u32, u32)> = before.keys().copied().collect();
        edges.sort_unstable();
        let cycle = cycle::find(among.len(), &edges).unwrap_or_default();
        let next = cycle.iter().cycle().skip(1);
        let pairs = cycle.iter().zip(next).map(|(first, second)| (*first, *second));
        let mut cycle: Vec<(u32, u32, usize)> =
            pairs.map(|pair| (among[pair.0 as usize], among[pair.1 as usize], before[&pair])).collect();
        let earliest = (0..cycle.len()).min_by_key(|index| cycle[*index].2).unwrap_or(0);
        cycle.rotate_left(earliest);
        cycle
    }
}

/// Most elements of one list and one cycle of which all pairs are looked at.
const PAIRS_MAX: usize = 200;
