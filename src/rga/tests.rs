//! Examples, hostile input, and that `check` sees what is broken.

mod bulk;

use std::hash::Hasher;

use super::names::Key;
use super::tree::NONE;
use super::*;
use crate::id::{INTEGER_MAX, ReplicaId};

fn id(lamport: u64, name: &str) -> ElementId {
    ElementId::new(lamport, &ReplicaId::new(name))
}

fn run(lamport: u64, name: &str, content: RunContent) -> Run {
    Run { id: id(lamport, name), content }
}

fn text(text: &str) -> RunContent {
    RunContent::Text(text.into())
}

fn alphabet(sizes: NodeSizes) -> Rga {
    let mut rga = Rga::with_node_sizes(sizes);
    rga.insert(&ElementId::root(), &id(1, "a"), "abcdefghijklmnopqrstuvwxyz");
    rga.check().unwrap();
    rga
}

#[test]
fn typing_on_extends_the_run() {
    let mut rga = Rga::new();
    for lamport in 1..=600 {
        let parent = if lamport == 1 { ElementId::root() } else { id(lamport - 1, "a") };
        assert_eq!(rga.insert(&parent, &id(lamport, "a"), "é"), Some(lamport as usize - 1));
    }
    rga.check().unwrap();
    assert_eq!(
        rga.tree.leaves.iter().map(|leaf| leaf.segments.len()).sum::<usize>(),
        2,
        "one per leaf: 512 two-byte characters fill the first"
    );
    assert_eq!(rga.index.entries().count(), 2);
    assert_eq!(rga.runs(), [run(1, "a", text(&"é".repeat(600)))]);
}

#[test]
fn a_long_text_fills_leaves_wherever_it_goes() {
    const BYTES: usize = 100 * 1024;
    for behind in [1, 200, 600, 1_000] {
        let mut rga = Rga::new();
        rga.insert(&ElementId::root(), &id(1, "a"), &"-".repeat(1_000));
        rga.insert(&id(behind, "a"), &id(2_000, "b"), &"x".repeat(BYTES));
        rga.check().unwrap();
        assert_eq!(rga.len(), BYTES + 1_000);
        assert!(rga.tree.leaves.len() <= 102, "behind {behind}");
    }
}

/// What was typed last is not in its leaf yet: whoever looks must not notice.
#[test]
fn what_is_typed_is_seen_at_once() {
    let mut rga = Rga::new();
    rga.insert(&ElementId::root(), &id(1, "a"), "ab");
    for (lamport, value) in (3..).zip("cdé".chars()) {
        rga.insert(&id(lamport - 1, "a"), &id(lamport, "a"), &value.to_string());
        rga.check().unwrap();
        assert_eq!(rga.value(&id(lamport, "a")), Some(Some(value)));
        assert_eq!(rga.text(), "abcdé"[.."abcdé".len().min(lamport as usize + usize::from(value == 'é'))]);
    }
    assert_eq!(rga.tree.typed, "cdé");
    let read = Rga::from_runs(&rga.runs()).unwrap();
    assert_eq!((&read, read.columns()), (&rga, rga.columns()));
    rga.insert(&id(1, "a"), &id(6, "b"), "-");
    rga.insert(&id(5, "a"), &id(7, "a"), "!");
    assert_eq!(rga.value(&id(2, "a")), Some(Some('b')), "before what was typed");
    rga.insert(&id(6, "b"), &id(8, "b"), "+");
    rga.insert(&id(8, "b"), &id(9, "b"), "*");
    assert_eq!((rga.text().as_str(), rga.value(&id(7, "a"))), ("a-+*bcdé!", Some(Some('!'))), "behind it");
    rga.delete(&id(9, "b"), 1, |_, _| {});
    rga.check().unwrap();
    assert_eq!(rga.text(), "a-+bcdé!");
}

#[test]
fn deleting_one_by_one_leaves_one_tombstone_run() {
    let mut rga = Rga::new();
    rga.insert(&ElementId::root(), &id(1, "a"), "hello world");
    for lamport in [5, 3, 4, 7, 6, 2] {
        rga.delete(&id(lamport, "a"), 1, |_, _| {});
        rga.check().unwrap();
    }
    assert_eq!(rga.segments().count(), 3);
    assert_eq!(rga.text(), "horld");
    assert_eq!(rga.runs()[1], run(2, "a", RunContent::Deleted(6)));
}

#[test]
fn what_vanishes_is_reported_whatever_the_layout() {
    for sizes in [NodeSizes::SMALLEST, NodeSizes::default()] {
        let mut rga = alphabet(sizes);
        let mut vanished = Vec::new();
        rga.delete(&id(11, "a"), 1, |at, len| vanished.push((at, len)));
        rga.insert(&id(5, "a"), &id(40, "b"), "-");
        rga.delete(&id(3, "a"), u32::MAX, |at, len| vanished.push((at, len)));
        assert_eq!(vanished, [(10, 1), (2, 3), (3, 20)]);
        assert_eq!(rga.text(), "ab-");
        rga.check().unwrap();
    }
}

#[test]
fn hostile_runs_are_refused_without_a_panic() {
    let deleted = |len| RunContent::Deleted(len);
    for (what, runs) in [
        ("empty text", vec![run(1, "a", text(""))]),
        ("no tombstones", vec![run(1, "a", deleted(0))]),
        ("the root", vec![run(0, "root", text("x"))]),
        ("the root's Lamport value", vec![run(0, "a", text("x"))]),
        ("twice", vec![run(1, "a", text("x")), run(1, "a", text("x"))]),
        ("overlap from the left", vec![run(5, "a", text("abc")), run(3, "a", deleted(3))]),
        ("overlap from the right", vec![run(5, "a", text("abc")), run(7, "a", deleted(3))]),
        ("overlap around", vec![run(5, "a", text("abc")), run(1, "a", deleted(u32::MAX))]),
        ("overlap inside", vec![run(1, "a", deleted(u32::MAX)), run(70_000, "a", text("x"))]),
        ("beyond the largest", vec![run(INTEGER_MAX, "a", text("xy"))]),
        ("begins beyond the largest", vec![run(INTEGER_MAX + 1, "a", text("x"))]),
        ("begins at the end of u64", vec![run(u64::MAX, "a", deleted(u32::MAX))]),
        ("the older of siblings first", vec![run(1, "b", text("x")), run(1, "a", text("x"))]),
        ("behind a run that hides nothing", vec![run(1, "b", text("xyz")), run(3, "a", text("x"))]),
    ] {
        assert!(Rga::from_runs(&runs).is_err(), "{what}");
    }
}

#[test]
fn billions_of_tombstones_cost_nothing() {
    let many: Vec<Run> =
        (0..1_000).map(|n| run(1 + n * u64::from(u32::MAX), "a", RunContent::Deleted(u32::MAX))).collect();
    let mut rga = Rga::from_runs(&many).unwrap();
    rga.check().unwrap();
    assert_eq!(rga.element_count(), 1_000 * u32::MAX as usize);
    assert_eq!(rga.runs(), many);
    rga.delete(&id(1, "a"), u32::MAX, |_, _| panic!("nothing is visible"));
    assert_eq!(rga.extent(&id(2, "a"), u64::MAX), (true, 1_000 * u64::from(u32::MAX) - 1));
    let last = id(rga.highest().0, "a");
    assert_eq!(rga.insert(&last, &id(rga.highest().0 + 1, "b"), "x"), Some(0));
    assert_eq!(rga.predecessor(&id(rga.highest().0, "b")), Some(last));
    rga.check().unwrap();
}

#[test]
fn runs_need_not_be_given_in_the_fewest_pieces() {
    let pieces = [
        run(1, "a", text("ab")),
        run(3, "a", text("c")),
        run(4, "a", RunContent::Deleted(1)),
        run(5, "a", RunContent::Deleted(2)),
    ];
    let rga = Rga::from_runs(&pieces).unwrap();
    assert_eq!(rga.runs(), [run(1, "a", text("abc")), run(4, "a", RunContent::Deleted(3))]);
}

#[test]
fn the_clock_ends_where_it_ends() {
    let mut rga = Rga::new();
    assert_eq!(rga.insert(&ElementId::root(), &id(INTEGER_MAX + 1, "a"), "x"), None);
    assert_eq!(rga, Rga::new());
    assert_eq!(rga.insert(&ElementId::root(), &id(INTEGER_MAX, "a"), "xyz"), Some(0));
    rga.check().unwrap();
    assert_eq!(rga.text(), "x");
    assert_eq!(rga.extent(&id(INTEGER_MAX, "a"), 5), (true, 1));
    rga.delete(&id(u64::MAX, "a"), u32::MAX, |_, _| panic!("there is no such element"));
}

#[test]
fn siblings_in_any_order_stay_logarithmic() {
    // Quadratic behaviour would take minutes.
    const COUNT: u64 = 100_000;
    for order in [|n: u64| 2 * n, |n: u64| 2 * (COUNT - n) + 2] {
        let mut rga = Rga::new();
        for n in 1..=COUNT {
            rga.insert(&ElementId::root(), &id(order(n), "a"), "x");
        }
        rga.check().unwrap();
        assert_eq!(rga.id_at(0), Some(id(2 * COUNT, "a")));
    }
}

#[test]
fn the_layout_is_hashed_apart_from_the_content() {
    #[derive(Default)]
    struct Sum(u64);
    impl Hasher for Sum {
        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let layout = |rga: &Rga| {
        let mut sum = Sum::default();
        rga.hash_layout(&mut sum);
        sum.finish()
    };
    let (small, large) = (alphabet(NodeSizes::SMALLEST), alphabet(NodeSizes::default()));
    assert_eq!(small, large);
    assert_ne!(layout(&small), layout(&large));
    assert_eq!(layout(&small), layout(&small.clone()));
}

/// Each way to break a sequence that `check` must see.
#[test]
fn check_sees_what_is_broken() {
    type Damage = (&'static str, fn(&mut Rga));
    let damages: [Damage; 25] = [
        ("text", |rga| rga.tree.leaves[3].text.push('x')),
        ("text too short", |rga| rga.tree.leaves[3].text.truncate(1)),
        ("segment length", |rga| rga.tree.leaves[3].segments[0].len += 1),
        ("segment replica", |rga| rga.tree.leaves[3].segments[0].replica += 1),
        ("segment id", |rga| rga.tree.leaves[3].segments[0].lamport += 100),
        ("no segments", |rga| rga.tree.leaves[3].segments.clear()),
        ("next", |rga| rga.tree.leaves[3].next = 0),
        ("previous", |rga| rga.tree.leaves[3].previous = NONE),
        ("parent of a leaf", |rga| rga.tree.leaves[3].parent = NONE),
        ("parent of an inner node", |rga| rga.tree.inners[0].parent = 0),
        ("characters below a child", |rga| rga.tree.inners[0].children[0].chars += 1),
        ("characters", |rga| rga.tree.chars += 1),
        ("elements", |rga| rga.element_count += 1),
        ("highest", |rga| rga.highest += 1),
        ("cursor's leaf", |rga| rga.tree.cursor.leaf = u32::MAX),
        ("cursor's slot", |rga| rga.tree.cursor.slot = 99),
        ("characters before the cursor's leaf", |rga| rga.tree.cursor.before_leaf += 1),
        ("characters before the cursor", |rga| rga.tree.cursor.before_slot += 1),
        ("bytes before the cursor", |rga| rga.tree.cursor.byte += 1),
        ("characters of the cursor's leaf", |rga| rga.tree.cursor.chars += 1),
        ("what the cursor owes", |rga| rga.tree.cursor.owed += 1),
        ("something else was typed", |rga| rga.tree.typed.push('x')),
        ("what was typed is lost", |rga| rga.tree.typed.clear()),
        ("more was typed than the segment has", |rga| rga.tree.typed = "x".repeat(99)),
        ("an entry elsewhere", |rga| rga.index.add(Key { lamport: 30, replica: 1 }, 0)),
    ];
    let mut rga = alphabet(NodeSizes::SMALLEST);
    rga.insert(&id(4, "a"), &id(30, "b"), "x");
    rga.insert(&id(4, "a"), &id(31, "c"), "y");
    rga.delete(&id(12, "a"), 3, |_, _| {});
    rga.insert(&id(31, "c"), &id(32, "c"), "z");
    assert_eq!(rga.tree.typed, "z", "and is not in its leaf");
    rga.check().unwrap();
    for (what, damage) in damages {
        let mut broken = rga.clone();
        damage(&mut broken);
        assert!(broken.check().is_err(), "{what}");
    }
}

#[test]
fn check_sees_siblings_in_the_wrong_order() {
    let mut rga = alphabet(NodeSizes::default());
    rga.insert(&id(4, "a"), &id(30, "c"), "x");
    rga.insert(&id(4, "a"), &id(30, "b"), "y");
    assert_eq!(rga.text(), "abcdyxefghijklmnopqrstuvwxyz");
    rga.check().unwrap();
    rga.tree.leaves[0].segments.swap(1, 2);
    assert_eq!(rga.check(), Err(crate::invariants::Violation::State("two elements stand in the wrong order")));
}
