//! What all targets share.

use collab_fuzz::Target;

/// The target of that name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    collab_fuzz::target(name).expect("the driver has the target's name")
}

/// Activates the named fault of the core that `COLLAB_MUTANT` names, to see that it is noticed.
///
/// # Panics
/// If there is none of that name.
#[cfg(feature = "mutants")]
pub fn begin() {
    use collab_engine::mutant::{Mutant, activate};
    if let Ok(name) = std::env::var("COLLAB_MUTANT") {
        let named = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        activate(Some(*named.expect("a mutant of that name")));
    }
}

/// Does nothing: this program has no named faults.
#[cfg(not(feature = "mutants"))]
pub fn begin() {}
