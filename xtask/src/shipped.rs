//! What is shipped cannot be broken on purpose, nor held by a test: neither the switch of the mutants nor the controls
//! are in the server.

use std::fs;
use std::path::{Path, PathBuf};

/// The switch's name in a table of symbols, as `model/tests/mutants.rs` finds it in a program that has one.
const SWITCH: &str = "collab_engine6mutant6switch6ACTIVE";
/// What tests hold a server by, as `model/tests/drive.rs` finds it.
const CONTROLS: &str = "collab_engine6server7control4held";
/// What every server has there; a program that was stripped would say nothing.
const ALWAYS: &str = "collab_engine8protocol6server";

/// Looks into the server that the release build of the whole workspace left.
///
/// # Errors
/// What was found, or why it cannot be known.
pub(crate) fn server_is_plain(root: &Path) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let server = target.join("release").join(format!("collab-engine{}", std::env::consts::EXE_SUFFIX));
    println!("      looking into {}", server.display());
    judge(&fs::read(&server).map_err(|error| format!("{}: {error}", server.display()))?)
}

fn judge(binary: &[u8]) -> Result<(), String> {
    let holds = |name: &str| binary.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    if !holds(ALWAYS) {
        return Err(format!("the server has no symbol {ALWAYS}: it was stripped, or the name has changed"));
    }
    if holds(SWITCH) {
        return Err("the server was built with the feature `mutants`".to_owned());
    }
    if holds(CONTROLS) {
        return Err("the server was built with the feature `control`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_with_symbols_and_without_switch_and_controls_passes() {
        assert!(judge(format!("..{ALWAYS}..").as_bytes()).is_ok());
        assert!(judge(b"....").is_err());
        assert!(judge(format!("..{ALWAYS}..{SWITCH}..").as_bytes()).is_err());
        assert!(judge(format!("..{ALWAYS}..{CONTROLS}..").as_bytes()).is_err());
    }
}
