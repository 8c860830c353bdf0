//! Parts of a world that it shares with the worlds it was copied from.
//!
//! An action changes little of a world: what it leaves alone is neither copied nor hashed nor compared again.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A value behind a shared pointer, which remembers its hash until it is changed.
#[derive(Clone)]
pub struct Shared<T>(Arc<Part<T>>);

struct Part<T> {
    value: T,
    hash: OnceLock<u128>,
}

impl<T: Clone> Clone for Part<T> {
    /// Copied to be changed: the hash is not taken along.
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), hash: OnceLock::new() }
    }
}

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Part { value, hash: OnceLock::new() }))
    }

    /// Whether both are one and the same: then they are equal, but not the other way round.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Shared<T> {
    /// The value to change, copied first if it is shared.
    pub(super) fn to_mut(&mut self) -> &mut T {
        let part = Arc::make_mut(&mut self.0);
        part.hash = OnceLock::new();
        &mut part.value
    }

    /// The value itself, copied only if it is shared.
    pub(super) fn into_inner(self) -> T {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.value.clone(), |part| part.value)
    }
}

impl<T: Hash> Shared<T> {
    fn hash_value(&self) -> u128 {
        *self.0.hash.get_or_init(|| {
            let mut hasher = Mixer::default();
            self.0.value.hash(&mut hasher);
            hasher.both()
        })
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq + Hash> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.hash_value() == other.hash_value() && self.0.value == other.0.value)
    }
}

impl<T: Eq + Hash> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash_value());
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// A hash of 128 bits by folded multiplication, in two lanes of 64; the same on every run. With *n* different values of
/// a part the odds that two share it are about n²/2¹²⁹, which adds nothing to those of the 64-bit fingerprint of a
/// whole world.
struct Mixer {
    one: u64,
    other: u64,
}

impl Default for Mixer {
    fn default() -> Self {
        Self { one: 0x243f_6a88_85a3_08d3, other: 0x1319_8a2e_0370_7344 }
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Mixer {
    fn both(&self) -> u128 {
        let (one, other) = (fold(self.one, 0xa409_3822_299f_31d1), fold(self.other, 0x082e_fa98_ec4e_6c89));
        u128::from(one) << 64 | u128::from(other)
    }
}

impl Hasher for Mixer {
    fn write_u64(&mut self, word: u64) {
        self.one = fold(self.one ^ word, 0x9e37_79b9_7f4a_7c15);
        self.other = fold(self.other ^ word.rotate_left(29), 0xd6e8_feb8_6659_fd93);
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.both() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_and_hash_alike_and_others_do_not() {
        let (one, same, other) =
            (Shared::new("ab".to_owned()), Shared::new("ab".to_owned()), Shared::new("ba".to_owned()));
        assert!(!one.is_same(&same));
        assert_eq!((&one, one.hash_value()), (&same, same.hash_value()));
        assert_ne!((&one, one.hash_value()), (&other, other.hash_value()));
    }

    #[test]
    fn a_change_is_seen_and_leaves_the_other_alone() {
        let one = Shared::new(vec![1, 2]);
        let before = one.hash_value();
        let mut changed = one.clone();
        assert!(changed.is_same(&one));
        changed.to_mut().push(3);
        assert_ne!(changed.hash_value(), before);
        assert_eq!((one.hash_value(), one.len()), (before, 2));
        changed.to_mut().pop();
        assert_eq!(changed, one);
    }

    #[test]
    fn where_bytes_end_counts() {
        let hashes: Vec<u128> = [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(one, other)| Shared::new((vec![0_u8; one], vec![0_u8; other])).hash_value())
            .into();
        assert!((0..4).all(|at| hashes[..at].iter().all(|hash| *hash != hashes[at])));
    }
}
