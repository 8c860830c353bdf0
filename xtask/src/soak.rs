//! `cargo xtask soak`: the test of a long life, for as many minutes as asked for, noted in docs/soak-results.jsonl and drawn
//! in docs/img/soak.svg.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::noted;

const FILE: &str = "docs/soak-results.jsonl";
const PICTURE: &str = "docs/img/soak.svg";

/// How it is used, for `cargo xtask help`.
pub(crate) const USAGE: &str =
    "  soak [MINUTES] let people join, type, paste, cut, leave and read slowly while the server is ended every minute
                 (60 minutes); adds to docs/soak-results.jsonl and draws docs/img/soak.svg anew
";

/// Does what the arguments ask for.
pub(crate) fn run(root: &Path, args: &[&str]) -> ExitCode {
    let minutes = match args {
        [] => Ok(60.0),
        [minutes] => minutes.parse::<f64>().ok().filter(|minutes| *minutes > 0.0).ok_or("MINUTES is a number above 0"),
        _ => Err("one number of minutes"),
    };
    match minutes.map_err(str::to_owned).and_then(|minutes| soak(root, minutes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn soak(root: &Path, minutes: f64) -> Result<(), String> {
    let out = root.join("target/soak");
    println!("for {minutes} minutes, and some more to read the traces; samples come into {}", out.display());
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--locked", "--test", "soak", "--", "--nocapture"]);
    command.env("COLLAB_SOAK_MINUTES", minutes.to_string()).env("COLLAB_SOAK_OUT", &out);
    let output = command.current_dir(root).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{said}\nsomething was lost or kept, or the test is wrong"));
    }
    let line = line(root, &said);
    println!("{line}");
    noted::append(&root.join(FILE), &line)?;
    fs::copy(out.join("soak.svg"), root.join(PICTURE)).map_err(|error| format!("{PICTURE}: {error}"))?;
    Ok(())
}

/// Every `name=number` that the test printed becomes a field.
fn line(root: &Path, said: &str) -> String {
    let mut line = format!(
        "{{\"date\":\"{}\",\"commit\":\"{}\",\"machine\":\"{}\"",
        noted::date(),
        noted::commit(root),
        noted::machine()
    );
    for word in said.split_whitespace() {
        if let Some((name, number)) = word.split_once('=')
            && number.parse::<u64>().is_ok()
            && name.chars().all(|character| character.is_ascii_lowercase() || character == '_')
        {
            line += &format!(",\"{name}\":{number}");
        }
    }
    line + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_is_printed_is_noted() {
        let said = "running 1 test\nCOLLAB_SEED=5\nends=3 edits=1039\nseconds=6 memory_peak=11484\n.\ntest result: ok. 1 passed\n";
        let line = line(Path::new("."), said);
        assert!(line.ends_with(",\"ends\":3,\"edits\":1039,\"seconds\":6,\"memory_peak\":11484}"), "{line}");
    }
}
