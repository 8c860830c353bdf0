//! The same state under other numbers of connections and attempts, without what makes no difference any more. Numbers of
//! connections are only told apart, attempts of a client only compared, so a model may take states for one that differ
//! in nothing else.

use super::ServerState;
use crate::id::{ReplicaId, ServerSeq, SessionId};

impl ServerState {
    /// Every connection that anything here remembers, some more than once.
    pub(crate) fn remembered_sessions(&self) -> impl Iterator<Item = SessionId> {
        let asked = self.tentative.sessions();
        self.sessions.keys().copied().chain(self.by_client.values().copied()).chain(asked)
    }

    /// Every attempt that anything here remembers, with whose it is, some more than once.
    pub(crate) fn remembered_attempts(&self) -> impl Iterator<Item = (&ReplicaId, u64)> {
        let of_members = self.sessions.values().flatten().map(|member| (&member.client, member.attempt));
        self.attempts.iter().map(|(client, attempt)| (client, *attempt)).chain(of_members)
    }

    /// Whether it remembers what was said to a session that is durable since: it only matters while it could be taken back.
    pub(crate) fn has_durable_ties(&self) -> bool {
        self.sessions.values().flatten().any(|member| self.is_durable_tie(member.depends_on))
    }

    fn is_durable_tie(&self, depends_on: ServerSeq) -> bool {
        depends_on > ServerSeq(0) && depends_on <= self.content.head
    }

    /// Forgets that.
    pub(crate) fn cut_durable_ties(&mut self) {
        let head = self.content.head;
        let members = self.sessions.values_mut().flatten();
        members.filter(|member| member.depends_on <= head).for_each(|member| member.depends_on = ServerSeq(0));
    }

    /// Gives every connection and every attempt another number. Both must keep their order.
    pub(crate) fn renumber(
        &mut self,
        session: impl Fn(SessionId) -> SessionId,
        attempt: impl Fn(&ReplicaId, u64) -> u64,
    ) {
        let sessions = std::mem::take(&mut self.sessions);
        self.sessions = sessions.into_iter().map(|(number, member)| (session(number), member)).collect();
        for member in self.sessions.values_mut().flatten() {
            member.attempt = attempt(&member.client, member.attempt);
        }
        self.by_client.values_mut().for_each(|number| *number = session(*number));
        self.attempts.iter_mut().for_each(|(client, number)| *number = attempt(client, *number));
        self.tentative.renumber(session);
    }
}
