//! Carrying out what the state machine says, in order.

use std::sync::Arc;

use tracing::error;

use super::Document;
use crate::id::SessionId;
use crate::oplog::{Entry, Stamp, encode_record};
use crate::protocol::server::Output;
use crate::server::link::{End, ToWriter};
use crate::server::ring::Encoded;
use crate::storage::Record;

impl Document {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append(entry) => self.collect(&entry),
            Output::Publish(entry) => self.published.push(Encoded::new(self.state.doc().clone(), entry)),
            Output::Join { session, plan } => self.tell(session, ToWriter::Join(Box::new(plan))),
            Output::Answer { session, after, message } => {
                let place = self.place.take();
                self.tell(session, ToWriter::Answer { after, message: Box::new(message), place });
            }
            Output::Refuse { session, after, error, close } => {
                self.context.metrics.refused(close.reason);
                self.tell(session, ToWriter::Refuse { after, error: error.map(Box::new), close });
            }
            Output::Close { session, close } => {
                if let Some(link) = self.links.get(&session) {
                    link.ending().end(End::Close(close));
                }
            }
            // Also to those whom the state has forgotten: a refusal of theirs may depend on what is discarded.
            Output::Discard { after } => self.links.values().for_each(|link| link.tell(ToWriter::Discard { after })),
            Output::Broken(violation) => error!(doc = %self.state.doc(), %violation, "an invariant is broken"),
        }
    }

    fn tell(&self, session: SessionId, message: ToWriter) {
        if let Some(link) = self.links.get(&session) {
            link.tell(message);
        }
    }

    fn collect(&mut self, entry: &Entry) {
        self.context.metrics.operations_accepted.inc();
        let stamp = Stamp { time_ms: self.context.host.now_ms(), user: None };
        let payload: Arc<[u8]> = encode_record(entry, &stamp).into();
        self.collected.shares.extend(self.shares.take());
        self.collected.records.push(Record { first: entry.first, last: entry.last(), payload });
    }
}
