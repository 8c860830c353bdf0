//! How the document scales: curves over its length, its replicas and its tombstones.
//!
//! `peers curves [--out DIRECTORY] [--draw]` measures and writes the points, one line of a chart in each row of
//! `rga-curves.jsonl`, and draws them; with `--draw` it draws what was measured before.

mod bench;
mod draw;
mod points;
mod start;
mod sweep;

use std::path::{Path, PathBuf};
use std::process::Command;

use points::{Line, Points};

const POINTS: &str = "rga-curves.jsonl";

pub fn run(arguments: impl Iterator<Item = String>) {
    let Arguments { directory, is_drawing } = Arguments::read(arguments);
    let file = directory.join(POINTS);
    if !is_drawing {
        let (begin, before) = (crate::measure::cpu_seconds(), load());
        let lines = sweep::all();
        let seconds = crate::measure::cpu_seconds() - begin;
        let measured = format!("{}, load {before} to {}, {seconds:.0} s of CPU time", machine(), load());
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        std::fs::write(&file, Points { measured, lines }.to_text()).expect("the points can be written");
    }
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let points = Points::read(&text).expect("a file of points");
    for chart in &sweep::CHARTS {
        let path = directory.join(chart.file);
        std::fs::write(&path, draw::chart(chart, &points)).expect("the chart can be written");
        println!("{}", path.display());
    }
    points.lines.iter().for_each(|line| println!("{}", growth(line)));
}

struct Arguments {
    directory: PathBuf,
    is_drawing: bool,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut read =
            Self { directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/img"), is_drawing: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--out" => read.directory = arguments.next().expect("a directory").into(),
                "--draw" => read.is_drawing = true,
                _ => panic!("unknown argument {argument:?}"),
            }
        }
        read
    }
}

/// First and last value, and how much more the last one is.
fn growth(Line { chart, panel, name, points }: &Line) -> String {
    let (first, last) =
        (points.first().map_or(f64::NAN, |point| point.1), points.last().map_or(f64::NAN, |point| point.1));
    let all: Vec<String> = points.iter().map(|(_, y)| format!("{y:.0}")).collect();
    format!("| {chart} | {panel} | {name} | {} | {:.1} |", all.join(" | "), last / first)
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Date, compiler and processor.
fn machine() -> String {
    let of = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let words = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
        words.trim().to_owned()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let rustc = of("rustc", &["--version"]);
    let rustc = rustc.split(' ').nth(1).unwrap_or("of an unknown version");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = cpu.trim_start_matches([':', '\t', ' ']);
    format!("{}, rustc {rustc}, {cores} cores of {cpu}", of("date", &["-u", "+%Y-%m-%d"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let read = |text: &str| Arguments::read(text.split_whitespace().map(str::to_owned));
        let Arguments { directory, is_drawing } = read("--out somewhere --draw");
        assert_eq!((directory.to_str(), is_drawing), (Some("somewhere"), true));
        let Arguments { directory, is_drawing } = read("");
        assert!(directory.ends_with("docs/img") && !is_drawing);
    }

    #[test]
    fn growth_is_the_last_as_a_multiple_of_the_first() {
        let points = vec![(1e3, 100.0), (1e4, 170.0), (1e5, 250.0)];
        let line = Line { chart: "c".into(), panel: 1, name: "n".into(), points };
        assert_eq!(growth(&line), "| c | 1 | n | 100 | 170 | 250 | 2.5 |");
    }
}
