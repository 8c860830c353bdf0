//! Operations that overlap on threads, as in a server, on a disk that loses power meanwhile: a commit beside a
//! checkpoint, a snapshot and a cut. The seed decides where the power goes and who yields; in which order threads then
//! go on is up to the machine, so a failure is repeated by running its seed often.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use collab_engine::storage::sim_files::Fault;

use super::*;

const DOCS: usize = 3;

/// What everybody may rely on, of each document.
#[derive(Default)]
struct Promised {
    durable: [AtomicU64; DOCS],
    snapshot: [AtomicU64; DOCS],
}

fn payload(doc: usize, number: u64) -> Vec<u8> {
    vec![(number * 7 + doc as u64) as u8; 1 + (number as usize * 131) % 700]
}

impl Promised {
    fn has_snapshot(&self) -> bool {
        self.snapshot.iter().any(|at| at.load(Ordering::Acquire) > 0)
    }
}

/// Checkpoints without end. They begin behind the first snapshot, or on a machine that gives this thread the most time
/// they would use up the disk's operations before there is one.
fn checkpoints(store: &EmbeddedStore, promised: &Promised, goes_on: &AtomicBool) {
    while goes_on.load(Ordering::Acquire) {
        if !promised.has_snapshot() {
            std::thread::yield_now();
        } else if store.checkpoint().is_err() {
            return;
        }
    }
}

/// The committer: appends to all documents, syncs, and only then promises. Until the disk is gone.
fn commits(store: &EmbeddedStore, mut heads: [u64; DOCS], promised: &Promised, files: &SimFiles) {
    for round in 0.. {
        // However busy the machine is, snapshots and checkpoints have their part.
        while round == 2 && !promised.has_snapshot() && !files.is_down() {
            std::thread::yield_now();
        }
        for (index, head) in heads.iter_mut().enumerate().filter(|(index, _)| (round + index) % 3 > 0) {
            let (name, records) = (doc(&format!("d{index}")), [record(*head, 1, &payload(index, *head + 1))]);
            let append = Append { doc: &name, expected_head: ServerSeq(*head), records: &records };
            match store.append(&[append]) {
                Ok(answers) => assert_eq!(answers, [Appended::Written { head: ServerSeq(*head + 1) }]),
                Err(_) => return,
            }
            *head += 1;
        }
        if store.sync().is_err() {
            return;
        }
        heads.iter().zip(&promised.durable).for_each(|(head, durable)| durable.store(*head, Ordering::Release));
    }
}

/// Documents' tasks: snapshots of what is durable, cuts behind them, reads.
fn snapshots(store: &EmbeddedStore, promised: &Promised, seed: u64, goes_on: &AtomicBool, files: &SimFiles) {
    let mut turn = seed;
    while goes_on.load(Ordering::Acquire) {
        turn += 1;
        let index = turn as usize % DOCS;
        let (name, at) = (doc(&format!("d{index}")), promised.durable[index].load(Ordering::Acquire));
        if at == 0 {
            std::thread::yield_now();
            continue;
        }
        let cut = turn.is_multiple_of(2).then(|| ServerSeq(at.saturating_sub(turn % 4)));
        let taken = store.put_snapshot(&name, ServerSeq(at), &at.to_le_bytes()).and_then(|()| {
            promised.snapshot[index].store(at, Ordering::Release);
            cut.map_or(Ok(()), |cut| store.truncate(&name, cut))
        });
        match taken.and_then(|()| store.load(&name)) {
            Ok(loaded) => assert!(loaded.head.0 >= at, "{name} was durable up to {at} and ends at {}", loaded.head),
            Err(error) => {
                assert!(files.is_down(), "{name}: {error}");
                return;
            }
        }
    }
}

/// Everything promised is there, and what is there is what was appended.
fn holds(store: &EmbeddedStore, promised: &Promised) -> [u64; DOCS] {
    std::array::from_fn(|index| {
        let loaded = store.load(&doc(&format!("d{index}"))).unwrap();
        let durable = promised.durable[index].load(Ordering::Acquire);
        assert!(loaded.head.0 >= durable, "d{index} was durable up to {durable} and ends at {}", loaded.head);
        let snapshot = loaded.snapshot.as_ref().map_or(0, |(at, state)| {
            assert_eq!(**state, at.0.to_le_bytes());
            at.0
        });
        assert!(snapshot >= promised.snapshot[index].load(Ordering::Acquire), "a snapshot of d{index} is gone");
        assert!(loaded.log_start.0 <= snapshot);
        let mut last = snapshot;
        for record in &loaded.records {
            assert_eq!((record.first.0, &*record.payload), (last + 1, &*payload(index, last + 1)));
            last = record.last.0;
        }
        assert_eq!(last, loaded.head.0);
        last
    })
}

#[test]
fn operations_that_overlap_lose_nothing_durable_when_the_power_goes() {
    let (mut power_went, mut with_snapshots) = (0, 0);
    for seed in 0..300 {
        let files = sim_disk(seed);
        let promised = Promised::default();
        let mut heads = [0; DOCS];
        for life in 0..3 {
            files.fail(20 + (seed * 37 + life * 101) % 400, Fault::Crash);
            if let Ok(store) = open_sim(&files) {
                let goes_on = AtomicBool::new(true);
                std::thread::scope(|scope| {
                    let (store, promised, goes_on, files) = (&store, &promised, &goes_on, &files);
                    scope.spawn(move || checkpoints(store, promised, goes_on));
                    scope.spawn(move || snapshots(store, promised, seed, goes_on, files));
                    commits(store, heads, promised, files);
                    goes_on.store(false, Ordering::Release);
                });
            }
            power_went += u32::from(files.is_down());
            files.crash();
            let store = open_sim(&files).unwrap();
            heads = holds(&store, &promised);
        }
        with_snapshots += u32::from(promised.has_snapshot());
    }
    assert!(power_went == 900 && with_snapshots > 250, "{power_went} losses of power, {with_snapshots} with snapshots");
}
