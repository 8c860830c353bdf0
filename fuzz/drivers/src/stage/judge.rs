//! What an entry of the log may be, as docs/protocol.md says: judged by the log before it and nothing else.

use collab_engine::content::Content;
use collab_engine::id::{Lamport, ReplicaId, SessionId};
use collab_engine::op::{Edit, Op};
use collab_engine::oplog::Entry;
use collab_engine::protocol::feed::Plan;
use collab_engine::protocol::message::{ClientMessage, Digest, Hello, MessageId, OpMessage, Version};

use super::Stage;

impl Stage {
    /// An entry is what a joined client asked for, under a name that is its own, and legal behind what is there.
    pub(super) fn judge(&self, session: SessionId, message: &ClientMessage, entry: &Entry) {
        match message {
            ClientMessage::Op(asked) => self.judge_op(session, asked, entry),
            ClientMessage::Hello(hello) => self.judge_retirement(hello, entry),
            ClientMessage::Sync { .. } => panic!("a barrier was logged"),
        }
    }

    fn judge_op(&self, session: SessionId, asked: &OpMessage, entry: &Entry) {
        let joined = &self.joined[&session];
        assert_eq!((&entry.origin, &asked.doc), (&joined.client, &self.doc), "in whose name");
        assert_eq!((&entry.op, &entry.message, &asked.client), (&asked.op, &asked.message, &entry.origin));
        assert_eq!(self.newest[&entry.origin], session, "an older connection is still listened to");
        let (limits, content) = (&self.limits, &self.tentative);
        assert!(entry.op.is_text() && (1..=u64::from(limits.op_count_max)).contains(&entry.count()));
        assert!(entry.op.edits().len() <= limits.batch_edits_max as usize);
        let record = content.clients.get(&entry.origin);
        assert!(record.is_none_or(|record| !record.is_retired && record.version == joined.version));
        match &entry.message {
            MessageId::Number(number) => {
                assert_eq!(joined.version, Version::V2);
                assert_eq!(*number, record.map_or(0, |record| record.last) + 1, "a message number");
                assert_eq!(asked.epoch, content.epoch);
                self.judge_edits(entry, record.map_or(Lamport(0), |record| record.minted));
            }
            MessageId::Text(_) => {
                assert_eq!(joined.version, Version::V1);
                self.judge_v1(entry);
            }
        }
    }

    /// Version 2: fresh ids of its own (W1), above their parents (W3) and near, behind elements that exist (W2).
    fn judge_edits(&self, entry: &Entry, mut minted: Lamport) {
        let mut content: Content = self.tentative.clone();
        for edit in entry.op.edits() {
            match edit {
                Edit::Insert { parent, id, .. } => {
                    assert!(id.replica == entry.origin && id.lamport > minted && parent.lamport < id.lamport);
                    assert!(parent.is_root() || content.document.rga().contains(parent), "{parent} is unknown");
                    let highest = content.document.highest().max(content.highest);
                    assert!(id.lamport.0 <= highest.0 + self.limits.lamport_jump_max, "{id} is far above {highest:?}");
                    minted = id.checked_add(edit.count() - 1).expect("it ends below the largest integer").lamport;
                }
                Edit::Delete { id, len } => {
                    let known = content.document.rga().extent(id, u64::from(*len));
                    assert!(is_all(&content, edit), "{id} and {len} on are unknown: {known:?}");
                }
            }
            content.document.integrate(&Op::Edit(edit.clone()), &mut Vec::new());
        }
    }

    /// Version 1: one character, own ids (W1), above their parents (W3) and near, other content under no id that shows
    /// (W4); and nothing waits for what only a version 2 client could bring.
    fn judge_v1(&self, entry: &Entry) {
        let content = &self.tentative;
        let [edit] = entry.op.edits() else { panic!("a batch in version 1") };
        assert_eq!(edit.count(), 1);
        let needed = match edit {
            Edit::Insert { parent, id, text } => {
                assert!(id.replica == entry.origin && parent.lamport < id.lamport);
                assert!(id.lamport.0 <= content.highest.0 + self.limits.lamport_jump_max);
                let shown = content.document.rga().value(id).flatten();
                assert!(shown.is_none() || shown == text.chars().next(), "{id} is {shown:?}");
                parent
            }
            Edit::Delete { id, .. } => id,
        };
        let waits = !needed.is_root() && !content.document.rga().contains(needed);
        let is_of_v2 = content.clients.get(&needed.replica).is_some_and(|record| record.version == Version::V2);
        assert!(!waits || !is_of_v2, "{needed} of a version 2 client is waited for");
    }

    /// An identity is retired by whoever has its secret, and once.
    fn judge_retirement(&self, hello: &Hello, entry: &Entry) {
        let old = hello.v2.as_ref().and_then(|v2| v2.replaces.as_ref()).expect("only a rekey is logged");
        assert_eq!(entry.op, Op::Retire { replica: old.client.clone() });
        assert_eq!(entry.origin, hello.client);
        self.check_secret(&old.client, Version::V2, &old.secret);
        let record = self.tentative.clients.get(&old.client);
        assert!(record.is_none_or(|record| !record.is_retired), "retired twice");
    }

    /// Whoever joins under a name that has a record has its secret, and is not retired.
    pub(super) fn judge_join(&self, message: &ClientMessage, plan: &Plan) {
        let ClientMessage::Hello(hello) = message else { panic!("joined without hello") };
        assert_eq!((&hello.doc, &hello.client), (&self.doc, &plan.client));
        let secret = hello.v2.as_ref().map(|v2| v2.secret.as_str());
        let version = if secret.is_some() { Version::V2 } else { Version::V1 };
        assert_eq!(plan.version, version);
        self.check_secret(&hello.client, version, secret.unwrap_or_default());
        let record = self.tentative.clients.get(&hello.client);
        assert!(record.is_none_or(|record| !record.is_retired), "a retired client has joined");
        assert!(plan.cursor <= plan.after, "a cursor beyond the head");
    }

    fn check_secret(&self, client: &ReplicaId, version: Version, secret: &str) {
        let Some(known) = self.secrets.get(client) else { return };
        let shown = (version == Version::V2).then(|| Digest::of(secret.as_bytes()));
        assert_eq!(known, &shown, "{client} is somebody else's");
    }
}

/// Whether all ids of a deletion exist.
fn is_all(content: &Content, edit: &Edit) -> bool {
    let (Edit::Delete { id, .. } | Edit::Insert { id, .. }) = edit;
    let (mut known, count) = (0, edit.count());
    while known < count {
        let Some(at) = id.checked_add(known) else { return false };
        match content.document.rga().extent(&at, count - known) {
            (true, extent) => known += extent,
            (false, _) => return false,
        }
    }
    true
}
