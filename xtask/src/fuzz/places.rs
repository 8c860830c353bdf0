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

    /// Where those of `edges`, addresses in the process, are that are in the project's own code: file and line. All of them, as
    /// addresses, where the system has no `/proc`, or no `addr2line`, which comes with the linker.
    pub(super) fn own(&self, edges: &[u64]) -> Vec<String> {
        let frames = self.base.and_then(|base| self.frames(edges, base));
        match frames {
            Some(frames) => places(&frames, &format!("{}/", self.root.display())),
            None => edges.iter().map(|edge| format!("{edge:#x}")).collect(),
        }
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

/// The places below `root` among what `addr2line` answers: of each edge the frame that it stands for.
fn places(frames: &str, root: &str) -> Vec<String> {
    let own =
        |edge: &str| edge.lines().skip(1).find(|file| !file.contains(INLINED))?.strip_prefix(root).map(str::to_owned);
    frames.split("0x").skip(1).filter_map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        55d5c0000000-55d5c0100000 r--p 00000000 fe:00 77 /us/fuzz/target/release/world\n\
        55d5c0100000-55d5c0500000 r-xp 00100000 fe:00 77 /us/fuzz/target/release/world\n\
        7f0000000000-7f0000100000 r--p 00000000 fe:00 78 /usr/lib/libc.so.6\n";
    const FRAMES: &str = "\
        0x0000000000100010\n/us/src/rga/edit.rs:12\n\
        0x0000000000100020\n/rustc/59/library/core/src/option.rs:742\n/us/src/document.rs:71 (discriminator 2)\n\
        0x0000000000100030\n/rustc/59/library/core/src/option.rs:742\n/rustc/59/library/alloc/src/collections/btree/node.rs:339\n/us/src/document.rs:71\n\
        0x0000000000100040\n/rustc/59/library/core/src/slice/sort/stable/mod.rs:136\n\
        0x0000000000100050\n/elsewhere/.cargo/registry/src/index/serde-1.0.0/src/lib.rs:1\n\
        0x0000000000100060\n??:0\n";

    #[test]
    fn a_process_says_where_its_program_is() {
        assert_eq!(base(MAPS, Path::new("/us/fuzz/target/release/world")), Some(0x55d5_c000_0000));
        assert_eq!(base(MAPS, Path::new("/us/fuzz/target/release/states")), None);
    }

    #[test]
    fn an_edge_is_where_it_was_written_or_what_that_is_inlined_in() {
        assert_eq!(places(FRAMES, "/us/"), ["src/rga/edit.rs:12", "src/document.rs:71 (discriminator 2)"]);
        assert!(places("", "/us/").is_empty());
    }

    #[test]
    fn without_an_answer_all_edges_count() {
        let places = Places::of(Path::new("no such program"), Path::new("/us"), std::process::id());
        assert_eq!(places.own(&[1, 16]), ["0x1", "0x10"]);
    }
}
