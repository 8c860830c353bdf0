//! The figures as tables in Markdown.

use crate::measure::{Figures, Task, Times};

const NONE: &str = "–";

pub fn print(results: &[(String, Vec<Figures>)]) {
    println!("Fastest round / median; nanoseconds of CPU time per patch.\n");
    println!(
        "| history | contestant | local | remote, read already | remote, from bytes | allocations per patch, local / \
         remote | heap MB | saved kB | load ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (history, all) in results {
        all.iter().for_each(|figures| println!("| {history} | {} |", row(figures)));
    }
    println!("\nThis project's fastest round as a share of another's, of the same run.\n");
    println!(
        "| history | local: diamond-types | local: jumprope | remote, read already: cola | remote, from bytes: cola | \
         heap: diamond-types | load: cola |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (history, all) in results {
        println!("| {history} | {} |", shares(all));
    }
}

fn time(figures: &Figures, task: Task) -> &Times {
    &figures.times[task as usize]
}

fn row(figures: &Figures) -> String {
    let per_patch = |task| {
        let nanoseconds = |seconds: f64| seconds * 1e9 / figures.patches as f64;
        let times = time(figures, task);
        match (times.min(), times.median()) {
            (Some(min), Some(median)) => format!("{:.0} / {:.0}", nanoseconds(min), nanoseconds(median)),
            _ => NONE.to_owned(),
        }
    };
    let blocks = figures.blocks.map(|blocks| {
        blocks.map_or(NONE.to_owned(), |blocks| format!("{:.2}", blocks as f64 / figures.patches as f64))
    });
    let load = time(figures, Task::Load);
    let load = load.min().zip(load.median());
    [
        figures.name.to_owned(),
        per_patch(Task::Local),
        per_patch(Task::Values),
        per_patch(Task::Bytes),
        blocks.join(" / "),
        figures.heap.map_or(NONE.to_owned(), |bytes| format!("{:.2}", bytes as f64 / 1e6)),
        figures.saved.map_or(NONE.to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e3)),
        load.map_or(NONE.to_owned(), |(min, median)| format!("{:.2} / {:.2}", min * 1e3, median * 1e3)),
    ]
    .join(" | ")
}

/// The contestants stand in the order of `main`.
fn shares(all: &[Figures]) -> String {
    let [ours, diamond, cola, floor, ..] = all else { unreachable!("four contestants at least") };
    let share = |mine: Option<f64>, other: Option<f64>| match (mine, other) {
        (Some(mine), Some(other)) => format!("{:.2}", mine / other),
        _ => NONE.to_owned(),
    };
    let times = |task, other| share(time(ours, task).min(), time(other, task).min());
    [
        times(Task::Local, diamond),
        times(Task::Local, floor),
        times(Task::Values, cola),
        times(Task::Bytes, cola),
        share(ours.heap.map(|bytes| bytes as f64), diamond.heap.map(|bytes| bytes as f64)),
        times(Task::Load, cola),
    ]
    .join(" | ")
}
