//! Building in one pass against inserting one run after the other, on sound states and on broken ones.

use super::*;
use crate::invariants::Violation;
use crate::rga::columns::Writer;
use crate::rga::edit::piece_len;
use crate::rga::leaf::Segment;
use crate::rga::tree::Place;

/// Numbers that depend on nothing but the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// The plain way to read runs: each is looked up and put behind the one before; what comes of it is checked.
fn one_by_one(runs: &[Run], sizes: NodeSizes) -> Result<Rga, Violation> {
    let mut rga = Rga::with_node_sizes(sizes);
    let mut end = rga.tree.start();
    for run in runs {
        end = append(&mut rga, end, run)?;
    }
    if runs.is_empty() {
        rga.tree.leaves.clear();
    }
    rga.check()?;
    Ok(rga)
}

fn append(rga: &mut Rga, mut end: Place, run: &Run) -> Result<Place, Violation> {
    let (len, mut rest) = match &run.content {
        RunContent::Text(text) => (text.chars().count() as u64, text.as_str()),
        RunContent::Deleted(len) => (u64::from(*len), ""),
    };
    let lamport = run.id.lamport.0;
    if len == 0 || lamport == 0 || lamport > INTEGER_MAX || len - 1 > INTEGER_MAX - lamport {
        return Err(Violation::State("no run"));
    }
    let mut key = Key { lamport, replica: rga.names.intern(&run.id.replica) };
    if rga.key_extent(key, len) != (false, len) {
        return Err(Violation::State("an id occurs twice"));
    }
    if rest.is_empty() {
        let segment = Segment { lamport, replica: key.replica, len: len as u32, bytes: 0 };
        return Ok(rga.put(end, segment, "").1);
    }
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(piece_len(rest, usize::from(rga.tree.sizes.bytes_max) / 2));
        let (len, bytes) = (piece.chars().count() as u32, piece.len() as u32);
        let segment = Segment { lamport: key.lamport, replica: key.replica, len, bytes };
        end = rga.put(end, segment, piece).1;
        (key, rest) = (segment.end(), behind);
    }
    Ok(end)
}

fn columns_of(runs: &[Run]) -> Columns<'static> {
    let (mut writer, mut names) = (Writer::default(), Vec::new());
    for run in runs {
        let number = names.iter().position(|name| *name == run.id.replica).unwrap_or_else(|| {
            names.push(run.id.replica.clone());
            writer.name(run.id.replica.clone())
        });
        match &run.content {
            RunContent::Text(text) => writer.push(number, run.id.lamport.0, text.chars().count() as u64, text),
            RunContent::Deleted(len) => writer.push(number, run.id.lamport.0, u64::from(*len), ""),
        }
    }
    writer.finish()
}

const NAMES: [&str; 3] = ["a", "b", "c, whose name is too long to be held inline"];

fn some_text(dice: &mut Dice) -> String {
    let len = if dice.below(20) == 0 { 400 } else { 1 + dice.below(6) };
    (0..len).map(|_| ['x', 'y', 'é', '𝄞'][dice.below(if len > 6 { 2 } else { 4 })]).collect()
}

/// Inserts behind any element, with any id that may stand there, or deletes some.
fn edit(rga: &mut Rga, dice: &mut Dice) {
    let at = dice.below(rga.element_count() + 1);
    let parent = at.checked_sub(1).and_then(|at| {
        rga.elements().nth(at).map(|(lamport, replica, _)| ElementId { lamport, replica: replica.clone() })
    });
    let parent = parent.unwrap_or_else(ElementId::root);
    if dice.below(3) == 0 {
        rga.delete(&parent, 1 + dice.below(9) as u32, |_, _| {});
        return;
    }
    let ahead = if dice.below(2) == 0 { dice.below(12) as u64 } else { rga.highest().0 - parent.lamport.0 };
    let (new, text) = (id(parent.lamport.0 + 1 + ahead, NAMES[dice.below(3)]), some_text(dice));
    let len = text.chars().count() as u64;
    if rga.extent(&new, len) == (false, len) {
        rga.insert(&parent, &new, &text).unwrap();
    }
}

fn some_runs(dice: &mut Dice) -> Vec<Run> {
    let mut rga = Rga::with_node_sizes(NodeSizes::SMALLEST);
    for _ in 0..1 + dice.below(40) {
        edit(&mut rga, dice);
    }
    rga.runs()
}

/// Changes something about the runs. What comes of it may be sound or not.
fn damage(runs: &mut Vec<Run>, dice: &mut Dice) {
    let (at, other) = (dice.below(runs.len()), dice.below(runs.len()));
    let by = 1 + dice.below(4) as u64;
    match dice.below(10) {
        0 => runs[at].id.lamport.0 += by,
        1 => runs[at].id.lamport.0 = runs[at].id.lamport.0.saturating_sub(by),
        2 => runs.swap(at, other),
        3 => {
            let next = (at + 1) % runs.len();
            runs.swap(at, next);
        }
        4 => runs[at].id.replica = ReplicaId::new(NAMES[dice.below(3)]),
        5 => runs.insert(other, runs[at].clone()),
        6 => drop(runs.remove(at)),
        7 => runs[at].id.lamport.0 = [0, INTEGER_MAX - 1, INTEGER_MAX, INTEGER_MAX + 1][dice.below(4)],
        8 => match &mut runs[at].content {
            RunContent::Text(text) => drop(text.pop()),
            RunContent::Deleted(len) => *len = [len.saturating_sub(1), len.saturating_add(1), u32::MAX][dice.below(3)],
        },
        _ => {
            // Some runs in two: the same sequence.
            if let RunContent::Text(text) = &mut runs[at].content
                && let Some((half, _)) = text.char_indices().nth(1)
            {
                let behind = text.split_off(half);
                let id = runs[at].id.checked_add(1).unwrap();
                runs.insert(at + 1, Run { id, content: RunContent::Text(behind) });
            }
        }
    }
}

#[test]
fn a_state_is_read_in_one_pass_as_run_by_run() {
    let mut dice = Dice(1);
    let (mut sound, mut refused) = (0, 0);
    for round in 0..1_500 {
        let mut runs = some_runs(&mut dice);
        for _ in 0..dice.below(3) {
            if !runs.is_empty() {
                damage(&mut runs, &mut dice);
            }
        }
        let sizes = if dice.below(2) == 0 { NodeSizes::SMALLEST } else { NodeSizes::default() };
        let plain = one_by_one(&runs, sizes);
        let mut read = vec![Rga::from_runs_sized(&runs, sizes)];
        // An empty run leaves no trace in the columns.
        if !runs.iter().any(|run| run.content == text("") || run.content == RunContent::Deleted(0)) {
            read.push(columns_of(&runs).read(sizes));
        }
        for read in read {
            match (&plain, read) {
                (Ok(plain), Ok(read)) => {
                    sound += 1;
                    stay_equal(plain.clone(), read, &mut dice);
                }
                (Err(_), Err(_)) => refused += 1,
                (plain, read) => panic!("round {round}: {:?}, {:?}, {runs:#?}", plain.is_ok(), read),
            }
        }
    }
    assert!(sound > 700 && refused > 700, "{sound}, {refused}");
}

/// Both are the same, and are so after more edits.
fn stay_equal(mut plain: Rga, mut read: Rga, dice: &mut Dice) {
    assert_eq!(read.check(), Ok(()));
    assert_eq!(
        (read.len(), read.element_count(), read.highest()),
        (plain.len(), plain.element_count(), plain.highest())
    );
    assert_eq!((read.runs(), read.text(), read.columns()), (plain.runs(), plain.text(), plain.columns()));
    // Not where clocks are at their end, nor with billions of tombstones, which are compared one by one.
    if plain.highest().0 > 1 << 40 || plain.element_count() > 1 << 16 {
        return;
    }
    for _ in 0..10 {
        let seed = dice.0;
        edit(&mut plain, &mut Dice(seed));
        edit(&mut read, dice);
    }
    assert_eq!(read.check(), Ok(()));
    assert_eq!(read, plain);
}

#[test]
fn leaves_and_nodes_are_filled_evenly() {
    let mut rga = Rga::new();
    for lamport in 1..=100_000 {
        rga.insert(&ElementId::root(), &id(2 * lamport, "a"), "x");
    }
    let read = Rga::from_runs(&rga.runs()).unwrap();
    read.check().unwrap();
    assert_eq!(read.tree.leaves.len(), 100_000_usize.div_ceil(47));
    assert_eq!(read.tree.height, 3);
    assert!(read.tree.inners.iter().all(|inner| inner.children.len() >= 8));
    assert!(read.tree.leaves.iter().all(|leaf| leaf.segments.capacity() == leaf.segments.len()));
}

#[test]
fn a_long_text_is_one_entry_per_leaf() {
    let rga = Rga::from_runs(&[run(1, "a", text(&"é".repeat(600)))]).unwrap();
    rga.check().unwrap();
    assert_eq!((rga.segments().count(), rga.index.entries().count()), (2, 2));
}
