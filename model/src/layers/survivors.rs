//! Why nothing that looks at a server or a client from outside notices some mutants.

use collab_engine::mutant::Mutant;

/// Each of them, with the reason.
pub(super) const SURVIVORS: &[(Mutant, &str)] = &[];

/// Why nothing notices a mutant.
pub(super) fn why(mutant: Mutant) -> Option<&'static str> {
    SURVIVORS.iter().find(|(survivor, _)| *survivor == mutant).map(|(_, why)| *why)
}
