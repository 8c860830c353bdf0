//! The distribution's packages, where steps may install what they need: as root, on Debian.

use std::path::Path;

use crate::tools::Program;

/// Brings the lists of packages up to date.
///
/// # Errors
/// Why that cannot be done here.
pub(crate) fn update(root: &Path) -> Result<(), String> {
    let user = Program::named("id").answers(&["-u"]).unwrap_or_default();
    if user.trim() != "0" || Program::named("apt-get").answers(&["--version"]).is_none() {
        return Err("and it can only be installed by root, with apt-get".to_owned());
    }
    Program::named("apt-get").run(&["update"], None, root)
}

/// Installs packages.
///
/// # Errors
/// Why they are not there.
pub(crate) fn install(packages: &[&str], root: &Path) -> Result<(), String> {
    println!("      {} is missing; installing it", packages.join(" with "));
    let env = Some(("DEBIAN_FRONTEND", "noninteractive"));
    Program::named("apt-get").run(&[&["install", "-y", "--no-install-recommends"], packages].concat(), env, root)
}
