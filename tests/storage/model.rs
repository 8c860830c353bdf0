//! A store driven by random steps beside a model that knows what it may and must hold.

use std::collections::{BTreeMap, VecDeque};

use collab_engine::storage::sim_files::Fault;

use super::*;

/// One thing to do. Numbers are reduced to what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append {
        doc: u8,
        counts: Vec<u8>,
        bytes: u16,
    },
    Sync,
    Snapshot {
        doc: u8,
        back: u8,
    },
    Truncate {
        doc: u8,
        back: u8,
    },
    Checkpoint,
    /// The process ends and starts again; the machine goes on.
    Restart,
    /// The machine loses its power.
    Crash,
}

/// What a document may and must hold.
#[derive(Clone, Debug, Default)]
struct DocModel {
    /// Durable for certain.
    durable: Vec<Record>,
    /// Behind it, perhaps durable: appended, and not known to have failed.
    perhaps: Vec<Record>,
    /// Snapshots of which one must be there; `None` stands for no snapshot.
    snapshots: Vec<Option<(ServerSeq, Vec<u8>)>>,
    /// Between which numbers the log may begin.
    log_start: (ServerSeq, ServerSeq),
}

impl DocModel {
    fn durable_head(&self) -> ServerSeq {
        self.durable.last().map_or(ServerSeq(0), |record| record.last)
    }
}

/// When the store and the model are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Step,
    Restart,
    Crash,
}

/// The store, its disk and the model.
pub(crate) struct Driver {
    pub(crate) files: SimFiles,
    store: Option<EmbeddedStore>,
    docs: BTreeMap<DocId, DocModel>,
    reserving: bool,
    /// Faults to come, each so many operations after the one before has struck.
    faults: VecDeque<(u64, Fault)>,
    /// Whether a failing store is killed and started again, instead of being recovered.
    impatient: bool,
    /// Makes every payload another one, so that one that comes back is seen.
    written: u64,
}

const NAMES: [&str; 4] = ["a", "A", "b:c", "long-name.2026"];

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        let none = || DocModel { snapshots: vec![None], ..DocModel::default() };
        let docs = NAMES.iter().map(|name| (doc(name), none())).collect();
        let mut driver = Self {
            files: sim_disk(seed),
            store: None,
            docs,
            reserving: seed & 2 == 2,
            faults: VecDeque::new(),
            impatient: seed & 1 == 1,
            written: 0,
        };
        driver.open();
        driver
    }

    /// Lets these faults happen, each so many operations after the one before.
    pub(crate) fn plan(&mut self, faults: &[(u64, Fault)]) {
        self.faults = faults.iter().copied().collect();
        self.next_fault();
    }

    fn next_fault(&mut self) {
        if let Some((after, fault)) = self.faults.pop_front() {
            self.files.fail(after, fault);
        }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }

    /// Opens the store, which may take another attempt after a fault, and never fails for another reason.
    fn open(&mut self) {
        self.store = None;
        for _ in 0..3 {
            match if self.reserving { open_sim_reserving(&self.files) } else { open_sim(&self.files) } {
                Ok(store) => {
                    self.store = Some(store);
                    return;
                }
                Err(StoreError::Io { .. } | StoreError::Full { .. }) if self.files.is_down() => self.files.crash(),
                Err(StoreError::Io { .. } | StoreError::Full { .. }) => self.files.heal(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the store does not open");
    }

    /// Does one step, copes with the fault it may meet, and compares.
    pub(crate) fn step(&mut self, step: &Step) {
        if let Err(error) = self.attempt(step) {
            assert!(matches!(error, StoreError::Io { .. } | StoreError::Full { .. }), "{step:?}: {error}");
            if self.files.is_down() {
                self.crash();
            } else if self.impatient {
                // The process is killed; what it wrote and could not sync is still to be seen, for the time being.
                self.files.heal();
                self.open();
                self.compare(After::Restart);
            } else {
                self.recover();
            }
            self.next_fault();
        }
    }

    fn attempt(&mut self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::Append { doc, counts, bytes } => self.append(*doc, counts, *bytes)?,
            Step::Sync => {
                self.store().sync()?;
                self.synced();
            }
            Step::Snapshot { doc, back } => self.snapshot(*doc, *back)?,
            Step::Truncate { doc, back } => self.truncate(*doc, *back)?,
            Step::Checkpoint => self.store().checkpoint()?,
            Step::Restart => {
                self.open();
                self.compare(After::Restart);
            }
            Step::Crash => self.crash(),
        }
        self.compare(After::Step);
        Ok(())
    }

    fn name(&self, index: u8) -> DocId {
        doc(NAMES[index as usize % NAMES.len()])
    }

    fn append(&mut self, index: u8, counts: &[u8], bytes: u16) -> Result<(), StoreError> {
        let name = self.name(index);
        let model = self.docs.get_mut(&name).unwrap();
        let head = model.perhaps.last().map_or(model.durable_head(), |record| record.last);
        let mut records = Vec::new();
        let mut last = head;
        for count in counts {
            self.written += 1;
            let mut payload = format!("{name} {} ", self.written).into_bytes();
            payload.resize(payload.len() + bytes as usize, self.written as u8);
            records.push(record(last.0, u64::from(count % 5) + 1, &payload));
            last = records[records.len() - 1].last;
        }
        model.perhaps.extend_from_slice(&records);
        let batch = [Append { doc: &name, expected_head: head, records: &records }];
        let answer = self.store().append(&batch)?;
        assert_eq!(answer, [Appended::Written { head: last }]);
        Ok(())
    }

    fn synced(&mut self) {
        for model in self.docs.values_mut() {
            model.durable.append(&mut model.perhaps);
        }
    }

    fn snapshot(&mut self, index: u8, back: u8) -> Result<(), StoreError> {
        let name = self.name(index);
        let model = &self.docs[&name];
        let oldest = model.snapshots.iter().flatten().map(|(at, _)| *at).max().unwrap_or_default();
        let ends = model.durable.iter().chain(&model.perhaps).map(|record| record.last);
        let ends: Vec<ServerSeq> = ends.filter(|end| *end >= oldest).collect();
        let Some(at) = ends.iter().nth_back(back as usize % ends.len().max(1)).copied() else { return Ok(()) };
        self.written += 1;
        let state = format!("state of {name} at {at}, {}", self.written).into_bytes();
        self.docs.get_mut(&name).unwrap().snapshots.push(Some((at, state.clone())));
        self.store().put_snapshot(&name, at, &state)?;
        let model = self.docs.get_mut(&name).unwrap();
        model.snapshots = vec![Some((at, state))];
        if at > model.durable_head() {
            self.synced();
        }
        Ok(())
    }

    fn truncate(&mut self, index: u8, back: u8) -> Result<(), StoreError> {
        let name = self.name(index);
        let Some((at, _)) = self.store().load(&name)?.snapshot else { return Ok(()) };
        let up_to = ServerSeq(at.0.saturating_sub(u64::from(back % 8)));
        let model = self.docs.get_mut(&name).unwrap();
        let boundary = model.durable.iter().map(|record| record.last).rfind(|end| *end <= up_to).unwrap_or_default();
        model.log_start.1 = model.log_start.1.max(boundary);
        self.store().truncate(&name, up_to)?;
        let model = self.docs.get_mut(&name).unwrap();
        model.log_start.0 = model.log_start.0.max(boundary);
        let needed = model.log_start.0;
        model.snapshots.retain(|snapshot| snapshot.as_ref().is_some_and(|(at, _)| *at >= needed) || needed.0 == 0);
        Ok(())
    }

    pub(crate) fn crash(&mut self) {
        self.store = None;
        self.files.crash();
        self.open();
        self.compare(After::Crash);
    }

    fn recover(&mut self) {
        self.files.heal();
        self.store().recover().unwrap();
        self.compare(After::Restart);
    }

    /// Compares everything that the store holds with the model. Records that can be read after a restart or a recovery
    /// are durable, all others are gone; which snapshot is there is settled only by a crash of the machine.
    fn compare(&mut self, after: After) {
        let store = self.store.as_ref().unwrap();
        let mut listed = Vec::new();
        for (name, model) in &mut self.docs {
            let loaded = store.load(name).unwrap_or_else(|error| panic!("{error}"));
            let known: Vec<Record> = model.durable.iter().chain(&model.perhaps).cloned().collect();
            let (durable, head) = (model.durable_head(), loaded.head);
            assert!(head >= durable, "{name}: head {head}, but {durable} was durable");
            let found = known.iter().take_while(|record| record.last <= head).count();
            assert_eq!(known[..found].last().map_or(ServerSeq(0), |record| record.last), head, "{name}");
            let (least, most) = model.log_start;
            assert!(
                loaded.log_start >= least && loaded.log_start <= most,
                "{name}: {} {least} {most}",
                loaded.log_start
            );
            assert!(model.snapshots.contains(&loaded.snapshot), "{name}: {:?}", loaded.snapshot);
            let at = loaded.snapshot.as_ref().map_or(ServerSeq(0), |(at, _)| *at);
            let behind = |after: ServerSeq| known[..found].iter().filter(move |record| record.first > after).cloned();
            assert_eq!(loaded.records, behind(at).collect::<Vec<_>>(), "{name}");
            let mut read = Vec::new();
            while let Some(last) = Some(read.last().map_or(loaded.log_start, |record: &Record| record.last)) {
                let page = store.read(name, last, head, 40).unwrap();
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            assert_eq!(read, behind(loaded.log_start).collect::<Vec<_>>(), "{name}");
            if after != After::Step {
                model.durable = known[..found].to_vec();
                model.perhaps.clear();
            }
            if after == After::Crash {
                model.snapshots = vec![loaded.snapshot];
                model.log_start = (loaded.log_start, loaded.log_start);
            }
            if head > ServerSeq(0) {
                listed.push(name.clone());
            }
        }
        assert_eq!(store.documents(None, 10).unwrap(), listed);
    }
}
