//! Group commit: one task takes whatever all documents have ready, appends it, syncs once and tells each of them.
//!
//! While it syncs, the next group collects in the queue; so the groups grow with the load and the number of syncs does
//! not. A document has at most one job here at a time, which bounds the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::host::{Boxed, Host};
use super::metrics::Metrics;
use super::trace::{Event, Observer};
use crate::id::{DocId, ServerSeq};
use crate::storage::{Append, Appended, Record, Store, StoreError};

/// Most bytes of records in one group, so that one document's paste does not hold up everybody.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Longest pause between two attempts to recover a store.
const RECOVERY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Records of one document, and where the answer goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) doc: DocId,
    pub(super) expected_head: ServerSeq,
    pub(super) records: Vec<Record>,
    pub(super) reply: oneshot::Sender<Committed>,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// Everything up to here is durable.
    Durable(ServerSeq),
    /// Nothing was taken; the log has gone on to here, and that is durable.
    Conflict(ServerSeq),
    /// Failed, or in doubt: the document stops.
    Failed,
}

/// The task's side. It blocks while it works.
struct Committer {
    host: Arc<dyn Host>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    jobs: mpsc::Receiver<Job>,
    /// Whether the store takes writes.
    is_healthy: watch::Sender<bool>,
    observer: Option<Arc<dyn Observer>>,
}

/// Starts the task, which ends when the last sender of jobs is gone; what comes last is ready then.
pub(super) fn spawn(
    host: &Arc<dyn Host>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    documents_max: usize,
    observer: Option<Arc<dyn Observer>>,
) -> std::io::Result<(mpsc::Sender<Job>, watch::Receiver<bool>, Boxed<()>)> {
    let (sender, jobs) = mpsc::channel(documents_max);
    let (is_healthy, health) = watch::channel(true);
    let committer = Committer { host: Arc::clone(host), store, metrics, jobs, is_healthy, observer };
    if committer.store.waits() {
        let end = host.dedicate("committer", Box::pin(committer.run()))?;
        return Ok((sender, health, end));
    }
    // Among the documents' tasks: two changes of threads for each group would cost more than all that it does.
    let running = tokio::spawn(committer.run());
    // If it panicked, that has been said where it did.
    Ok((sender, health, Box::pin(async move { _ = running.await })))
}

impl Committer {
    async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            // Where documents share this processor, each that runs first has its records in this group and needs no sync
            // of its own: what a sync costs is least affordable when there is no processor to spare.
            if self.store.waits() {
                self.host.give_way();
            }
            let mut bytes = bytes_of(&first);
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX
                && let Ok(job) = self.jobs.try_recv()
            {
                bytes += bytes_of(&job);
                group.push(job);
            }
            self.commit(group).await;
        }
    }

    async fn commit(&mut self, group: Vec<Job>) {
        // Nothing was taken because of one document's records: the others must not suffer for it.
        for job in self.attempt(group).await {
            self.attempt(vec![job]).await;
        }
    }

    /// Answers a group; gives it back if it must be tried one by one.
    async fn attempt(&mut self, group: Vec<Job>) -> Vec<Job> {
        let records: usize = group.iter().map(|job| job.records.len()).sum();
        self.metrics.appends.inc_by(group.len() as u64);
        self.metrics.group_documents.observe(group.len() as f64);
        self.metrics.group_records.observe(records as f64);
        let begin = Instant::now();
        let answers = self.append_and_sync(&group);
        self.metrics.sync_seconds.observe(begin.elapsed().as_secs_f64());
        match answers {
            Ok(answers) => {
                for (job, answer) in group.into_iter().zip(answers) {
                    let committed = match answer {
                        Appended::Written { head } => Committed::Durable(head),
                        Appended::Conflict { head } => Committed::Conflict(head),
                    };
                    reply(job, committed);
                }
            }
            Err(StoreError::Refused { .. }) if group.len() > 1 => return group,
            Err(StoreError::Refused { doc, why }) => {
                error!(%doc, why, "the store refused records");
                self.metrics.store_failures.inc();
                group.into_iter().for_each(|job| reply(job, Committed::Failed));
            }
            Err(error) => self.fail(group, &error).await,
        }
        Vec::new()
    }

    fn append_and_sync(&self, group: &[Job]) -> Result<Vec<Appended>, StoreError> {
        let batch: Vec<Append<'_>> = group
            .iter()
            .map(|job| Append { doc: &job.doc, expected_head: job.expected_head, records: &job.records })
            .collect();
        self.observe(&Event::Appending { group: &batch });
        let answers = self.store.append(&batch).and_then(|answers| self.store.sync().map(|()| answers));
        self.observe(&Event::Appended { answers: answers.as_deref() });
        if answers.is_ok() {
            self.metrics.syncs.inc();
        }
        answers
    }

    fn observe(&self, event: &Event<'_>) {
        self.observer.iter().for_each(|observer| observer.observe(event));
    }

    /// Tells everybody in the group, and then recovers the store. Documents load only while it is healthy, so none can
    /// be loaded with what the recovery is about to take back.
    async fn fail(&mut self, group: Vec<Job>, error: &StoreError) {
        error!(%error, documents = group.len(), "a commit failed; its documents stop until the store has recovered");
        self.metrics.store_failures.inc();
        self.is_healthy.send_replace(false);
        group.into_iter().for_each(|job| reply(job, Committed::Failed));
        let mut pause = Duration::from_millis(50);
        while let Err(error) = self.store.recover() {
            warn!(%error, "the store has not recovered");
            self.host.pause(pause).await;
            pause = (pause * 2).min(RECOVERY_PAUSE_MAX);
            // Nothing of these was appended; but they cannot be kept waiting without end.
            while let Ok(job) = self.jobs.try_recv() {
                reply(job, Committed::Failed);
            }
            if self.jobs.is_closed() {
                return;
            }
        }
        info!("the store has recovered");
        self.observe(&Event::Recovered);
        self.is_healthy.send_replace(true);
    }
}

fn bytes_of(job: &Job) -> usize {
    job.records.iter().map(|record| record.payload.len()).sum()
}

/// A document that is gone has nobody to tell.
fn reply(job: Job, committed: Committed) {
    let _ = job.reply.send(committed);
}
