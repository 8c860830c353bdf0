//! One writer: makes its steps, each when it is due and when its replica has seen what the step needs.
//!
//! In a sequential history the replica then shows exactly the recorded state, and edits go by position. In a concurrent
//! one it may have seen more already, since nobody holds others' operations back from it. So the writer keeps a second
//! document of exactly the recorded state, finds out there on which elements the edit was made, and makes it on those.

use tokio::time::{Instant, sleep_until};

use super::ledger::Ledgers;
use super::plan::Step;
use super::{Pace, ReplayError};
use crate::cli::trace::Patch;
use crate::client::{Client, EditError, Editor};
use crate::document::Document;
use crate::id::{ReplicaId, ServerSeq};
use crate::op::{Edit, Op};
use crate::protocol::client::LOCAL_RUN_MAX;

/// One writer at work.
pub(super) struct Writer {
    pub(super) index: usize,
    pub(super) client: Client,
    pub(super) ledgers: Ledgers,
    pub(super) pace: Pace,
    pub(super) begun: Instant,
    /// The recorded state, where the replica may show another: with how many steps of each writer are in it.
    exact: Option<(Document, Vec<usize>)>,
}

impl Writer {
    pub(super) fn new(index: usize, client: Client, ledgers: Ledgers, pace: Pace, begun: Instant) -> Self {
        Self { index, client, ledgers, pace, begun, exact: None }
    }

    /// Makes steps on the exact recorded states, whatever else the replica has seen.
    pub(super) fn exactly(mut self) -> Self {
        self.exact = Some((Document::new(), vec![0; self.ledgers.len()]));
        self
    }

    /// Makes all steps, and waits until they are settled.
    pub(super) async fn run(mut self, steps: Vec<Step>) -> Result<(), ReplayError> {
        for step in steps {
            let due = self.pace.due(self.begun, step.index);
            if let Some(due) = due {
                sleep_until(due).await;
            }
            self.await_needs(&step.needs).await?;
            if let Pace::Window(window) = self.pace {
                self.client.wait_until(|progress| progress.unacknowledged < window).await?;
            }
            self.make(step.patches, due).await?;
        }
        Ok(self.client.settled().await?)
    }

    /// Waits until the replica has integrated what the step needs, and takes it into the exact state.
    async fn await_needs(&mut self, needs: &[(usize, usize)]) -> Result<(), ReplayError> {
        if needs.is_empty() {
            return Ok(());
        }
        let mut changes = self.ledgers.changes();
        let last = loop {
            let known: Option<Vec<ServerSeq>> =
                needs.iter().map(|(writer, count)| self.ledgers.of(*writer).server_seq_of(*count)).collect();
            if let Some(known) = known {
                break known.into_iter().max().unwrap_or_default();
            }
            // The ledgers live as long as this writer does, so there is always a next change to wait for.
            changes.changed().await.ok();
        };
        self.client.wait_until(|progress| progress.last_seen >= last).await?;
        if let Some((document, seen)) = &mut self.exact {
            for (writer, count) in needs {
                for edits in self.ledgers.of(*writer).edits(seen[*writer]..*count) {
                    integrate(document, &edits);
                }
                seen[*writer] = *count;
            }
        }
        Ok(())
    }

    async fn make(&mut self, patches: Vec<Patch>, due: Option<Instant>) -> Result<(), ReplayError> {
        let (ledgers, index) = (self.ledgers.clone(), self.index);
        let exact = self.exact.take();
        let made = move |editor: &mut Editor<'_>| {
            if ledgers.of(index).is_replaced {
                return Err(ReplayError::Replaced);
            }
            let first = editor.replica().next_number();
            let mut edits = Vec::new();
            let exact = match exact {
                None => by_position(editor, &patches)?,
                Some((mut document, seen)) => {
                    edits = on_ids(editor, &mut document, &patches)?;
                    Some((document, seen))
                }
            };
            let mut ledger = ledgers.of(index);
            ledger.patches += patches.len();
            // Before anything of it is sent: that happens when this step of the client ends.
            ledger.made(&(first..editor.replica().next_number()), edits, due);
            Ok(exact)
        };
        self.exact = self.client.with(made).await??;
        self.ledgers.notify();
        Ok(())
    }
}

fn by_position<T>(editor: &mut Editor<'_>, patches: &[Patch]) -> Result<Option<T>, EditError> {
    for Patch { position: at, deleted, inserted } in patches {
        if *deleted > 0 {
            editor.delete(*at, *deleted)?;
        }
        if !inserted.is_empty() {
            editor.insert(*at, inserted)?;
        }
    }
    Ok(None)
}

/// Makes patches on the exact state, and hands them to the replica as edits on ids.
fn on_ids(editor: &mut Editor<'_>, exact: &mut Document, patches: &[Patch]) -> Result<Vec<Edit>, EditError> {
    let replica = editor.replica().identity().client.clone();
    let mut edits = Vec::new();
    for patch in patches {
        for edit in edits_of(exact, patch, &replica)? {
            editor.edit_on_ids(edit.clone())?;
            edits.push(edit);
        }
    }
    Ok(edits)
}

/// The edits of a patch on `exact`, which they are integrated in.
fn edits_of(exact: &mut Document, patch: &Patch, replica: &ReplicaId) -> Result<Vec<Edit>, EditError> {
    let Patch { position: at, deleted, inserted } = patch;
    let mut edits = Vec::new();
    if *deleted > 0 {
        let op = exact.local_delete(*at, *deleted).ok_or(EditError::Invalid)?;
        integrate(exact, op.edits());
        edits.extend_from_slice(op.edits());
    }
    let inserted: Vec<char> = inserted.chars().collect();
    for (index, run) in inserted.chunks(LOCAL_RUN_MAX).enumerate() {
        let text: String = run.iter().collect();
        let edit = exact.local_insert(at + index * LOCAL_RUN_MAX, &text, replica).ok_or(EditError::Invalid)?;
        integrate(exact, std::slice::from_ref(&edit));
        edits.push(edit);
    }
    Ok(edits)
}

fn integrate(document: &mut Document, edits: &[Edit]) {
    for edit in edits {
        document.integrate(&Op::Edit(edit.clone()), &mut Vec::new());
    }
}
