//! `hello`: who may join, who is taken over, and what a joining client gets first.
//!
//! Joining is one step of the document: the plan that comes of it fixes the greeting and the place from which the
//! session's feed goes on, so nothing can fall between replay and live echoes.

use super::{Member, Output, Outputs, ServerState};
use crate::content::ClientRecord;
use crate::id::{ReplicaId, ServerSeq, SessionId};
use crate::op::Op;
use crate::oplog::EntryFields;
use crate::protocol::feed::Plan;
use crate::protocol::message::{
    Digest, Follows, Hello, HelloAck, HelloAckV2, HelloV2, MessageId, Replaces, ServerMessage, Version,
};
use crate::protocol::reject::{Close, CloseCode, Reject};

impl ServerState {
    pub(super) fn on_hello(&mut self, session: SessionId, hello: &Hello, out: &mut Outputs) {
        let version = if hello.v2.is_some() { Version::V2 } else { Version::V1 };
        let judged = match &hello.v2 {
            _ if hello.doc != self.doc && !mutated!(AnyDocumentJoins) => Err(Reject::WrongDocument),
            None => self.judge_hello_v1(hello),
            Some(v2) => self.judge_hello_v2(hello, v2),
        };
        if let Err(reject) = judged {
            return self.refuse_as(Some(version), session, reject, None, out);
        }
        self.take_over(&hello.client, version, out);
        let (secret, attempt) =
            hello.v2.as_ref().map_or((None, 0), |v2| (Some(Digest::of(v2.secret.as_bytes())), v2.attempt));
        let replaced_last =
            hello.v2.as_ref().and_then(|v2| v2.replaces.as_ref()).filter(|replaces| replaces.client != hello.client);
        let replaced_last = replaced_last.and_then(|replaces| self.retire(session, &hello.client, replaces, out));
        let depends_on = self.tentative.head;
        let member = Member { client: hello.client.clone(), version, secret, attempt, depends_on };
        self.sessions.insert(session, Some(member));
        self.by_client.insert(hello.client.clone(), session);
        if version == Version::V2 {
            self.attempts.insert(hello.client.clone(), attempt);
        }
        let plan = self.plan(hello, version, replaced_last);
        out.push(Output::Join { session, plan });
    }

    fn judge_hello_v1(&self, hello: &Hello) -> Result<(), Reject> {
        let is_v2 = self.record(&hello.client).is_some_and(|record| record.version == Version::V2);
        let is_live_v2 = self.live(&hello.client).is_some_and(|member| member.version == Version::V2);
        if is_v2 || is_live_v2 { Err(Reject::ClientIdTaken) } else { Ok(()) }
    }

    fn judge_hello_v2(&self, hello: &Hello, v2: &HelloV2) -> Result<(), Reject> {
        let record = self.record(&hello.client);
        if !self.owns(&hello.client, Digest::of(v2.secret.as_bytes())) {
            return Err(Reject::ClientIdTaken);
        }
        if record.is_some_and(|record| record.is_retired) && !mutated!(RetiredMayJoin) {
            return Err(Reject::ClientRetired);
        }
        if self.attempts.get(&hello.client).is_some_and(|highest| v2.attempt <= *highest) && !mutated!(LateHelloWins) {
            return Err(Reject::StaleAttempt);
        }
        if v2.epoch != self.content.epoch {
            return Err(Reject::StaleEpoch);
        }
        if !self.is_of_this_history(hello.last_seen, v2) && !mutated!(TermNotChecked) {
            return Err(Reject::UnknownTerm);
        }
        if v2.answered > record.map_or(0, |record| record.last) {
            return Err(Reject::NoRecord);
        }
        Ok(())
    }

    /// Whether a version 2 secret proves an id: nobody has another claim to it.
    fn owns(&self, client: &ReplicaId, secret: Digest) -> bool {
        let fits = |version: Version, known: Option<Digest>| version == Version::V2 && known == Some(secret);
        mutated!(SecretNotChecked)
            || self.record(client).is_none_or(|record| fits(record.version, record.secret))
                && self.live(client).is_none_or(|member| fits(member.version, member.secret))
    }

    pub(super) fn live(&self, client: &ReplicaId) -> Option<&Member> {
        self.by_client.get(client).and_then(|session| self.sessions.get(session))?.as_ref()
    }

    /// Whether `last_seen` is a number of this document's history: its term is known, and covers it.
    fn is_of_this_history(&self, last_seen: ServerSeq, v2: &HelloV2) -> bool {
        match v2.term {
            None => last_seen == ServerSeq(0),
            Some(term) => last_seen <= self.content.head && self.content.term_of(last_seen) == Some(term),
        }
    }

    /// Closes the client's older connection, if there is one: from here on nothing of it is processed.
    fn take_over(&mut self, client: &ReplicaId, version: Version, out: &mut Outputs) {
        if let Some(older) = self.by_client.get(client).copied().filter(|_| !mutated!(OldConnectionKept)) {
            // Version 1 knows no code for it.
            let code = if version == Version::V1 { CloseCode::Policy } else { CloseCode::TakenOver };
            self.close(older, Close { code, reason: "taken_over" }, out);
        }
    }

    /// Retires the identity that a rekeying client leaves behind, for ever. Answers the number of its last accepted
    /// message; `None` without a record that the secret proves: then element ids decide what was accepted.
    fn retire(&mut self, session: SessionId, successor: &ReplicaId, old: &Replaces, out: &mut Outputs) -> Option<u64> {
        let secret = Digest::of(old.secret.as_bytes());
        if !self.owns(&old.client, secret) {
            return None;
        }
        if !mutated!(ReplacedConnectionKept) {
            self.take_over(&old.client, Version::V2, out);
        }
        let record = self.record(&old.client);
        let last = record.map(|record: &ClientRecord| record.last);
        if !record.is_some_and(|record| record.is_retired) && !mutated!(RetirementNotLogged) {
            let (op, message) = (Op::Retire { replica: old.client.clone() }, MessageId::Number(0));
            let proof = Some(secret).filter(|_| last.is_none());
            let fields = EntryFields { origin: successor.clone(), message, op, proof, ..self.next() };
            self.append(session, fields, false, out);
        }
        last
    }

    /// The greeting, and where the session's feed begins.
    fn plan(&self, hello: &Hello, version: Version, replaced_last: Option<u64>) -> Plan {
        let head = if mutated!(JoinsAtDurableHead) { self.content.head } else { self.tentative.head };
        let missed = head.0.saturating_sub(hello.last_seen.0);
        let is_kept = hello.last_seen >= self.log_start && hello.last_seen <= head;
        // A successor judges what it had pending by the state that it gets: an older one would lack what was accepted.
        let is_successor = hello.v2.as_ref().is_some_and(|v2| v2.replaces.is_some());
        let follows = match &hello.v2 {
            None if hello.last_seen == ServerSeq(0) => Follows::Resync,
            Some(v2) if (v2.resync || is_successor) && !mutated!(ResyncDemandIgnored) => Follows::Resync,
            _ if hello.last_seen == head => Follows::Nothing,
            None if is_kept && missed <= u64::from(self.limits.v1_replay_max) => Follows::Replay,
            Some(_) if is_kept && missed <= u64::from(self.limits.replay_max) => Follows::Replay,
            _ => Follows::Resync,
        };
        let is_durable = mutated!(LastFromDurableRecord);
        let record = if is_durable { self.content.clients.get(&hello.client) } else { self.record(&hello.client) };
        let v2 = hello.v2.as_ref().map(|_| HelloAckV2 {
            term: self.tentative_term(),
            epoch: self.content.epoch,
            durability: self.durability,
            last: record.map_or(0, |record| record.last),
            replaced_last,
            follows,
            limits: Box::new((*self.limits).clone()),
        });
        let greeting = ServerMessage::HelloAck(HelloAck { doc: self.doc.clone(), server_seq: head, v2 });
        let (doc, client) = (self.doc.clone(), hello.client.clone());
        let cursor = if is_successor { head } else { hello.last_seen.min(head) };
        let cursor = if mutated!(ReplayStartsLate) { ServerSeq(cursor.0 + 1).min(head) } else { cursor };
        let cursor = if mutated!(ReplayStartsEarly) { ServerSeq(cursor.0.saturating_sub(1)) } else { cursor };
        let after = if mutated!(GreetingNotHeld) { ServerSeq(0) } else { head };
        Plan { doc, client, version, greeting, after, cursor, follows }
    }

    /// The term of the tentative head.
    fn tentative_term(&self) -> Option<crate::id::Term> {
        self.tentative.term().or_else(|| self.content.term_of(self.content.head))
    }
}
