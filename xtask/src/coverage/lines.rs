//! Lines of source files, and which of them were executed, out of what `llvm-cov export --format=lcov` says.

use std::collections::BTreeMap;
use std::path::Path;

/// By the path below `src/` and the line's number: whether it was executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(BTreeMap<(String, u32), bool>);

impl Lines {
    /// Of the files below a directory.
    pub(super) fn read(lcov: &str, directory: &Path) -> Self {
        let (mut lines, mut file) = (Self::default(), None);
        for record in lcov.lines() {
            match record.split_once(':') {
                Some(("SF", path)) => {
                    file = Path::new(path).strip_prefix(directory).ok().map(|path| path.display().to_string());
                }
                Some(("DA", line)) => {
                    let mut fields = line.split(',');
                    let number = fields.next().and_then(|number| number.parse().ok());
                    let is_executed = fields.next().is_some_and(|count| count != "0");
                    if let (Some(file), Some(number)) = (&file, number) {
                        *lines.0.entry((file.clone(), number)).or_default() |= is_executed;
                    }
                }
                _ => {}
            }
        }
        lines
    }

    /// These, and those of another.
    pub(super) fn with(mut self, other: &Self) -> Self {
        for (line, is_executed) in &other.0 {
            *self.0.entry(line.clone()).or_default() |= is_executed;
        }
        self
    }

    /// The same lines, none of them executed.
    pub(super) fn present(&self) -> Self {
        Self(self.0.keys().map(|line| (line.clone(), false)).collect())
    }

    /// How many there are in the files whose paths begin like this.
    pub(super) fn present_in(&self, begins: &[&str]) -> usize {
        self.0.keys().filter(|(file, _)| is_in(file, begins)).count()
    }

    /// How many of those that another has were executed here.
    pub(super) fn reached_of(&self, other: &Self, begins: &[&str]) -> usize {
        let is_reached = |(line, is_executed): &(&(String, u32), &bool)| {
            **is_executed && other.0.contains_key(*line) && is_in(&line.0, begins)
        };
        self.0.iter().filter(is_reached).count()
    }
}

fn is_in(file: &str, begins: &[&str]) -> bool {
    begins.iter().any(|begin| file.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LCOV: &str = "SF:/r/src/rga/tree.rs\nFN:3,f\nDA:3,7\nDA:4,0\nend_of_record\nSF:/r/model/src/a.rs\nDA:1,1\n\
                        end_of_record\nSF:/r/src/rga/tree.rs\nDA:4,1\nDA:9,0\nend_of_record\n";

    #[test]
    fn a_line_is_executed_if_any_copy_of_it_is() {
        let lines = Lines::read(LCOV, Path::new("/r/src"));
        assert_eq!((lines.present_in(&["rga/"]), lines.present_in(&["a.rs"])), (3, 0));
        assert_eq!(lines.reached_of(&lines, &["rga/"]), 2);
        assert_eq!(lines.reached_of(&lines, &["rga.rs"]), 0);
    }

    #[test]
    fn only_lines_that_the_other_has_are_counted() {
        let lines = Lines::read(LCOV, Path::new("/r/src"));
        let fewer = Lines::read("SF:/r/src/rga/tree.rs\nDA:3,0\nDA:9,0\n", Path::new("/r/src"));
        assert_eq!(lines.reached_of(&fewer, &["rga/"]), 1);
        assert_eq!(fewer.with(&lines), lines);
    }
}
