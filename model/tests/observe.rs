//! The observer-level checker: what it accepts, what it refuses, and that the shipped documents pass it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::process::{Command, Stdio};

use collab_model::observe::{Before, History, Verdict, read};
use collab_model::rga::{Replicas, RgaModel};
use stateright::Model;

fn judged(json: &str) -> Verdict {
    read(json.as_bytes()).unwrap().judge()
}

fn refused(json: &str) -> String {
    read(json.as_bytes()).unwrap_err().to_string()
}

fn before(first: &str, second: &str, display: usize) -> Before {
    Before { first: first.to_owned(), second: second.to_owned(), display }
}

/// The next pseudo-random number below `bound` (splitmix64).
fn random(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % bound as u64) as usize
}

fn record(history: &mut History, replicas: &Replicas) {
    for document in &replicas.documents {
        let ids = (0..document.rga().len()).map(|at| document.rga().id_at(at).unwrap());
        history.add(ids.map(|id| format!("{id:?}")));
    }
}

/// Everything that every replica displays on random walks through the sequence model, concurrent edits, early and
/// double deliveries included.
#[test]
fn what_shipped_documents_display_has_one_order() {
    let model = RgaModel::new(3, 8, 3, 2);
    for seed in 0..60 {
        let mut random_state = seed;
        let mut history = History::default();
        let mut replicas = model.init_states().remove(0);
        loop {
            record(&mut history, &replicas);
            let mut actions = Vec::new();
            model.actions(&replicas, &mut actions);
            if actions.is_empty() {
                break;
            }
            let action = actions[random(&mut random_state, actions.len())];
            replicas = model.next_state(&replicas, action).unwrap();
        }
        assert_eq!(history.judge(), Verdict::Ordered, "seed {seed}");
        assert!(history.element_count() > 20 && history.display_count() > 60, "seed {seed}: too little happened");
    }
}

/// A list whose replicas put what they receive right behind its parent, whatever stands there: the tie-break is the order
/// of arrival.
#[derive(Default)]
struct Careless(Vec<&'static str>);

impl Careless {
    fn insert(&mut self, parent: Option<&str>, id: &'static str) {
        let at = parent.and_then(|parent| self.0.iter().position(|known| *known == parent)).map_or(0, |at| at + 1);
        self.0.insert(at, id);
    }
}

#[test]
fn a_tie_broken_by_arrival_is_refused() {
    let (mut a, mut b, mut history) = (Careless::default(), Careless::default(), History::default());
    for (parent, id) in [(None, "a"), (None, "x")] {
        a.insert(parent, id);
        history.add(a.0.clone());
    }
    assert_eq!(history.judge(), Verdict::Ordered);
    for (parent, id) in [(None, "x"), (None, "a")] {
        b.insert(parent, id);
        history.add(b.0.clone());
    }
    assert_eq!(history.judge(), Verdict::Cyclic(vec![before("x", "a", 2), before("a", "x", 4)]));
}

/// Every two elements have one order, and still there is none of all three: what the weak list specification allows.
#[test]
fn a_cycle_of_three_is_refused() {
    let cycle = vec![before("\"a\"", "\"x\"", 1), before("\"x\"", "\"b\"", 2), before("\"b\"", "\"a\"", 3)];
    let json = r#"{"displays":[["a","x"],["x","b"],["b","a"]]}"#;
    assert_eq!(judged(json), Verdict::Cyclic(cycle));
    assert_eq!(judged(r#"{"displays":[["a","x"],["x","b"],["a","b"]]}"#), Verdict::Ordered);
}

#[test]
fn the_evidence_names_as_few_displays_as_possible() {
    let json = r#"{"displays":[["a","b","c","d","e"],["e","f","g","a"]]}"#;
    assert_eq!(judged(json), Verdict::Cyclic(vec![before("\"a\"", "\"e\"", 1), before("\"e\"", "\"a\"", 2)]));
}

#[test]
fn an_element_that_stands_twice_is_refused() {
    let verdict = Verdict::Twice { element: "\"a\"".to_owned(), display: 2 };
    assert_eq!(judged(r#"{"displays":[["a"],["b","a","a"]]}"#), verdict);
}

#[test]
fn both_forms_are_read_and_ids_are_of_any_kind() {
    let lines = "[1,2]\n\n{\"replica\":\"A\",\"display\":[2,[7,\"A\"]]}\n[]\n";
    let history = read(lines.as_bytes()).unwrap();
    assert_eq!((history.display_count(), history.element_count()), (3, 3));
    assert_eq!(judged("{\n  \"displays\": [\n    [1, 2],\n    [2]\n  ]\n}\n"), Verdict::Ordered);
    // A string and a number of the same looks are two elements.
    assert_eq!(judged("[1,\"1\"]\n"), Verdict::Ordered);
}

#[test]
fn what_is_no_history_is_refused_with_its_place() {
    assert!(refused("").starts_with("it holds no display"));
    assert_eq!(refused("[1,2]\n[1,]\n"), "line 2, column 4: trailing comma");
    assert_eq!(refused("{\n\"displays\": [[1],\n[2}\n"), "line 3, column 3: expected `,` or `]`");
    assert_eq!(refused("[1]\n7\n"), "line 2: a list of element ids is expected, and not a number");
    assert_eq!(refused("{\"displays\":{}}"), "`displays`: an array of lists is expected, and not an object");
    let id = "display 2, element 1: an id is a string, a number or an array of these, and not null";
    assert_eq!(refused("{\"displays\":[[],[null]]}"), id);
    assert!(refused("{\"display\":3}").contains("line 1: a list"));
    assert!(refused("{\"lists\":[]}").contains("`display`"));
    assert!(refused("{\"displays\":[]}\n[1]").starts_with("line 2: nothing may follow"));
}

/// The work must not grow with the square of the input.
#[test]
fn a_long_history_is_judged_at_once() {
    let mut history = History::default();
    for display in 0..200 {
        history.add((0..5000).map(|element| (display * 2500 + element).to_string()));
    }
    assert_eq!(history.judge(), Verdict::Ordered);
    history.add(["400000", "3"]);
    let Verdict::Cyclic(cycle) = history.judge() else { panic!("not refused") };
    assert!(cycle.iter().any(|before| before.first == "400000" && before.second == "3"));
}

#[test]
fn the_command_tells_by_its_exit_code() {
    let run = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_collab-model"))
            .args(["observe", "-", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait().unwrap().code()
    };
    assert_eq!(run("[1,2]\n[2,3]\n"), Some(0));
    assert_eq!(run("[1,2]\n[2,1]\n"), Some(1));
    assert_eq!(run("[1,2"), Some(2));
}
