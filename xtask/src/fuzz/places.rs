//! Where covered edges are: in the project's own code, or in that of a library.
//!
//! Generic code of the standard library is compiled into the programs with what uses it: the nodes of every ordered map, the
//! sorting of every list. How many entries a node had when it was split says nothing of the project, and there is no end to it
//! within hours. So only edges of the project's own code count as new coverage.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::Program;

/// Frames in here stand for what they are inlined in: `?`, the arithmetic, the loops.
const INLINED: &str = "/library/core/src/";

/// Tells a running program's edges apart.
#[derive(Debug)]
pub(super) struct Places {
    program: PathBuf,
    root: PathBuf,
    /// Where the program was loaded, if the system says.
    base: Option<u64>,
}

impl Places {
    /// Of a program that runs as the process `id`.
    pub(super) fn of(program: &Path, root: &Path, id: u32) -> Self {
        let base = base(&fs::read_to_string(format!("/proc/{id}/maps")).unwrap_or_default(), program);
        Self { program: program.to_path_buf(), root: root.to_path_buf(), base }
    }

    /// How many of `edges`, addresses in the process, are in the project's own code. All of them where the system has no
    /// `/proc`, or no `addr2line`, which comes with the linker.
    pub(super) fn own(&self, edges: &[u64]) -> usize {
        let frames = self.base.and_then(|base| self.frames(edges, base));
        frames.map_or(edges.len(), |frames| count(&frames, &format!("{}/", self.root.display())))
    }

    /// The frames of each address: a line with the address, then a line for each, from the inside out.
    fn frames(&self, edges: &[u64], base: u64) -> Option<String> {
        let program = self.program.display().to_string();
        let edges = edges.iter().map(|edge| format!("{:#x}", edge.saturating_sub(base)));
        let args: Vec<String> = ["-a", "-i", "-e", &program].map(String::from).into_iter().chain(edges).collect();
        Program::named("addr2line").answers(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn base(maps: &str, program: &Path) -> Option<u64> {
    let name = program.display().to_string();
    let line = maps.lines().find(|line| line.ends_with(&name))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

fn count(frames: &str, root: &str) -> usize {
    let is_own = |place: &&str| {
        place.lines().skip(1).find(|file| !file.contains(INLINED)).is_some_and(|file| file.starts_with(root))
    };
    frames.split("0x").skip(1).filter(is_own).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        55d5c0000000-55d5c0100000 r--p 00000000 fe:00 77 /src/fuzz/target/release/world\n\
        55d5c0100000-55d5c0500000 r-xp 00100000 fe:00 77 /src/fuzz/target/release/world\n\
        7f0000000000-7f0000100000 r--p 00000000 fe:00 78 /usr/lib/libc.so.6\n";
    const FRAMES: &str = "\
        0x0000000000100010\n/src/src/rga/edit.rs:12\n\
        0x0000000000100020\n/rustc/59/library/core/src/option.rs:742\n/src/src/document.rs:71 (discriminator 2)\n\
        0x0000000000100030\n/rustc/59/library/core/src/option.rs:742\n/rustc/59/library/alloc/src/collections/btree/node.rs:339\n/src/src/document.rs:71\n\
        0x0000000000100040\n/rustc/59/library/core/src/slice/sort/stable/mod.rs:136\n\
        0x0000000000100050\n/elsewhere/.cargo/registry/src/index/serde-1.0.0/src/lib.rs:1\n\
        0x0000000000100060\n??:0\n";

    #[test]
    fn a_process_says_where_its_program_is() {
        assert_eq!(base(MAPS, Path::new("/src/fuzz/target/release/world")), Some(0x55d5_c000_0000));
        assert_eq!(base(MAPS, Path::new("/src/fuzz/target/release/states")), None);
    }

    #[test]
    fn an_edge_is_where_it_was_written_or_what_that_is_inlined_in() {
        assert_eq!(count(FRAMES, "/src/"), 2);
        assert_eq!(count("", "/src/"), 0);
    }

    #[test]
    fn without_an_answer_all_edges_count() {
        let places = Places::of(Path::new("no such program"), Path::new("/src"), std::process::id());
        assert_eq!(places.own(&[1, 2]), 2);
    }
}
