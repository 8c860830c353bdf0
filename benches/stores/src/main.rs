//! Compares ways to keep documents durable: `stores append`, `stores restart`, `stores damage`. Each prints a table in
//! Markdown. Directories are made below `$STORES_DIR`, or the current one, which should be on the disk to be measured.

mod candidates;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use candidates::{Entry, NAMES, Outcome, open};

const PAYLOAD: usize = 150;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["append"] => append(),
        ["restart"] => restart(),
        ["restart-one", name, dir] => restart_one(name, Path::new(dir)),
        ["damage"] => damage(),
        _ => Err("one of: append, restart, damage".into()),
    }
}

fn scratch(name: &str) -> Outcome<PathBuf> {
    let base = std::env::var_os("STORES_DIR").map_or(std::env::current_dir()?, PathBuf::from);
    let dir = base.join(format!("stores-scratch-{name}"));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    Ok(dir)
}

/// Appends `groups` groups round robin over `docs` documents; the time of each.
fn measure(name: &str, docs: u32, group_size: usize, groups: usize) -> Outcome<Vec<Duration>> {
    let dir = scratch(name)?;
    let mut store = open(name, &dir)?;
    let payload = [7u8; PAYLOAD];
    let mut times = Vec::with_capacity(groups);
    let mut written = 0u64;
    for _ in 0..groups {
        let entry = |index: u64| ((index % u64::from(docs)) as u32, index / u64::from(docs) + 1, &payload[..]);
        let group: Vec<Entry<'_>> = (written..written + group_size as u64).map(entry).collect();
        let begin = Instant::now();
        store.append(&group)?;
        times.push(begin.elapsed());
        written += group_size as u64;
    }
    drop(store);
    fs::remove_dir_all(&dir)?;
    Ok(times)
}

/// The time of a group. Rounds are short and the candidates take turns, so that a busy minute of the machine strikes them
/// all; rates and shares are those of the tenth percentile, which other work on the machine disturbs least.
fn append() -> Outcome<()> {
    println!("| documents | group | store | records/s | of bare | p10 µs | p50 µs | p99 µs |");
    println!("|---|---|---|---|---|---|---|---|");
    for docs in [1, 100, 1000] {
        for (group_size, groups) in [(1, 150), (16, 100), (256, 40)] {
            let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
            for _ in 0..6 {
                for name in NAMES {
                    times.entry(name).or_default().extend(measure(name, docs, group_size, groups)?);
                }
            }
            times.values_mut().for_each(|times| times.sort_unstable());
            let at = |name: &str, share: usize| times[name][times[name].len() * share / 100].as_secs_f64() * 1e6;
            for name in NAMES {
                let (typical, p50, p99) = (at(name, 10), at(name, 50), at(name, 99));
                let (rate, share) = (group_size as f64 / typical * 1e6, at("bare", 10) / typical * 100.0);
                let row = format!("{rate:.0} | {share:.0} % | {typical:.0} | {p50:.0} | {p99:.0} |");
                println!("| {docs} | {group_size} | {name} | {row}");
            }
        }
    }
    Ok(())
}

const RESTART_DOCS: u32 = 100_000;
const LONG: u64 = 1000;

/// 100,000 documents of one record, the first with a thousand more; then a new process opens and loads.
fn restart() -> Outcome<()> {
    println!("| store | fill s | close s | MB on disk | open ms | MB of memory after | load short µs | load long µs |");
    println!("|---|---|---|---|---|---|---|---|");
    for name in NAMES.into_iter().filter(|name| *name != "bare") {
        let dir = scratch(name)?;
        let mut store = open(name, &dir)?;
        let payload = [7u8; PAYLOAD];
        let all: Vec<Entry<'_>> = (0..RESTART_DOCS)
            .map(|doc| (doc, 1, &payload[..]))
            .chain((2..2 + LONG).map(|number| (0, number, &payload[..])))
            .collect();
        let begin = Instant::now();
        for group in all.chunks(256) {
            store.append(group)?;
        }
        let filled = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        store.close()?;
        let closed = begin.elapsed().as_secs_f64();
        print!("| {name} | {filled:.1} | {closed:.1} | {:.0} |", size(&dir)? as f64 / 1e6);
        let output = Command::new(std::env::current_exe()?).args(["restart-one", name]).arg(&dir).output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn restart_one(name: &str, dir: &Path) -> Outcome<()> {
    let before = resident()?;
    let begin = Instant::now();
    let mut store = open(name, dir)?;
    let opened = begin.elapsed().as_secs_f64() * 1e3;
    let memory = (resident()?.saturating_sub(before)) as f64 / 1e6;
    let mut times = Vec::new();
    for step in 1..=200 {
        let begin = Instant::now();
        assert_eq!(store.load(step * 499)?.len(), 1);
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let begin = Instant::now();
    assert_eq!(store.load(0)?.len() as u64, LONG + 1);
    println!(" {opened:.1} | {memory:.1} | {} | {} |", times[100].as_micros(), begin.elapsed().as_micros());
    Ok(())
}

fn resident() -> Outcome<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).unwrap_or("0").parse()?;
    Ok(pages * 4096)
}

/// The blocks of all files below a directory, in bytes.
fn size(dir: &Path) -> Outcome<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(total)
}

const DAMAGED_DOCS: u32 = 50;
const FLIPS: usize = 300;

/// Flips one byte anywhere in the files of a small store, and looks at what a new opening and all loads then say.
fn damage() -> Outcome<()> {
    println!("| store | flips | error at open | error at load | content as it was | wrong content | panic |");
    println!("|---|---|---|---|---|---|---|");
    std::panic::set_hook(Box::new(|_| {}));
    for name in NAMES.into_iter().filter(|name| *name != "bare") {
        let dir = scratch(name)?;
        let mut store = open(name, &dir)?;
        let payloads: Vec<Vec<u8>> = (1..=20u8).map(|number| vec![number; PAYLOAD]).collect();
        for (number, payload) in (1..).zip(&payloads) {
            let group: Vec<Entry<'_>> = (0..DAMAGED_DOCS).map(|doc| (doc, number, &payload[..])).collect();
            store.append(&group)?;
        }
        store.close()?;
        let files = files_below(&dir)?;
        // Bytes that are not zero: a file that is longer than what it holds is no protection.
        let used = |(file, (_, content)): (usize, &(PathBuf, Vec<u8>))| {
            let places = content.iter().enumerate().filter(|(_, byte)| **byte != 0);
            places.map(|(at, _)| (file, at)).collect::<Vec<_>>()
        };
        let places: Vec<(usize, usize)> = files.iter().enumerate().flat_map(used).collect();
        let total = places.len();
        let mut counts = [0; 5];
        for flip in 0..FLIPS {
            let (file, at) = places[flip * total / FLIPS];
            for (index, (path, content)) in files.iter().enumerate() {
                fs::create_dir_all(path.parent().unwrap_or(&dir))?;
                let mut content = content.clone();
                if index == file {
                    content[at] ^= 0x40;
                }
                fs::write(path, content)?;
            }
            let verdict = catch_unwind(AssertUnwindSafe(|| verdict(name, &dir, &payloads))).unwrap_or(4);
            counts[verdict] += 1;
            fs::remove_dir_all(&dir)?;
        }
        let [open, load, same, wrong, panic] = counts;
        println!("| {name} | {FLIPS} of {total} bytes | {open} | {load} | {same} | {wrong} | {panic} |");
    }
    Ok(())
}

fn verdict(name: &str, dir: &Path, payloads: &[Vec<u8>]) -> usize {
    let Ok(mut store) = open(name, dir) else { return 0 };
    let mut verdict = 2;
    for doc in 0..DAMAGED_DOCS {
        match store.load(doc) {
            Ok(found) if found == payloads => {}
            Ok(_) => verdict = 3,
            Err(_) if verdict == 2 => verdict = 1,
            Err(_) => {}
        }
    }
    verdict
}

fn files_below(dir: &Path) -> Outcome<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push((path.clone(), fs::read(&path)?)) }
    }
    Ok(found)
}
