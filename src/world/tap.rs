//! What went into a replica, for whoever steps another implementation with it.

use std::hash::{Hash, Hasher};

use crate::protocol::client::Input;

/// The inputs of a replica since somebody began to listen. No part of the world's state: worlds that differ in nothing
/// else are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Tap(Option<Vec<Input>>);

impl Tap {
    pub(super) fn note(&mut self, input: &Input) {
        if let Some(inputs) = &mut self.0 {
            inputs.push(input.clone());
        }
    }

    /// What was noted since the last call. Listens from the first one on.
    pub(super) fn drain(&mut self) -> Vec<Input> {
        self.0.replace(Vec::new()).unwrap_or_default()
    }
}

impl PartialEq for Tap {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Tap {}

impl Hash for Tap {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
