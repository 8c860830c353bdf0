//! Bytes as choices. When they are used up, every choice is the first one.

use arbitrary::Unstructured;

pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether all bytes are used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `count`, which takes no byte if that is at most 1, and one byte up to 256.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.int_in_range(0..=count.saturating_sub(1)).unwrap_or(0)
    }

    /// Of `count` choices rather one than none: whether it is the last.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    pub(crate) fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    /// A byte string of at most `len_max` bytes.
    pub(crate) fn bytes(&mut self, len_max: usize) -> &'a [u8] {
        let len = self.below(len_max + 1).min(self.0.len());
        self.0.bytes(len).unwrap_or_default()
    }
}
