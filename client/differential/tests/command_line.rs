//! The command that other implementations are compared with.

use std::process::{Command, Output};

fn traces(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collab-differential"));
    command.arg("traces").args(arguments).output().expect("the command starts")
}

#[test]
fn a_seed_gives_the_same_lines_every_time() {
    let [one, again, other] = ["7", "7", "8"].map(|seed| traces(&["--seed", seed, "--worlds", "5", "--lone", "5"]));
    assert!(one.status.success() && !one.stdout.is_empty());
    assert_eq!(one.stdout, again.stdout);
    assert_ne!(one.stdout, other.stdout);
}

#[test]
fn a_later_world_can_be_had_without_the_ones_before_it() {
    let all = traces(&["--seed", "7", "--worlds", "3"]).stdout;
    let last = traces(&["--seed", "7", "--first", "2", "--worlds", "1"]).stdout;
    assert!(!last.is_empty() && all.ends_with(&last));
}

#[test]
fn a_missing_seed_is_named() {
    let refused = traces(&["--worlds", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--seed"));
}
