//! Operations, and the names and ids in them.

use super::plain::{Id, PlainEdit, is_same, plain_batch, plain_edit};
use super::read::{Fault, Fields};
use super::write::{Writer, digit_count, escaped_len};
use super::{Malformed, SECRET_BYTES_MIN};
use crate::id::{DocId, ElementId, Lamport, ReplicaId};
use crate::op::{Edit, Op, edit_text};
use crate::protocol::limits::Limits;
use crate::protocol::message::Version;
use crate::protocol::reject::Reject;
use crate::rga::char_count;

/// What is wrong with a replica's name, if anything. `bytes_max` is `None` for names that the server vouches for.
fn name_fault(name: &str, bytes_max: Option<u32>) -> Option<&'static str> {
    if name.is_empty() {
        Some("must not be empty")
    } else if bytes_max.is_some_and(|max| name.len() > max as usize) {
        Some("is longer than name_bytes_max")
    } else if !is_printable_ascii(name) && name.chars().any(char::is_control) {
        Some("must not contain control characters")
    } else if name == ElementId::ROOT_REPLICA {
        Some("must not be the root's name")
    } else {
        None
    }
}

/// Looks at every byte, so many at once.
fn is_printable_ascii(name: &str) -> bool {
    name.bytes().fold(true, |all, byte| all & (b' '..=b'~').contains(&byte))
}

/// Takes a replica's name if it is well formed.
pub(super) fn replica(name: &str, bytes_max: Option<u32>) -> Result<ReplicaId, Fault> {
    name_fault(name, bytes_max).map_or_else(|| Ok(ReplicaId::new(name)), |what| Err(Fault::malformed(what)))
}

/// Reads a `client_id`; `hello` demands a longer one of version 2.
pub(super) fn client(fields: &mut Fields<'_>, version: Version, limits: &Limits) -> Result<ReplicaId, Fault> {
    let name = fields.text("client_id")?;
    let client = replica(&name, Some(limits.name_bytes_max)).map_err(|fault| fault.at("client_id"))?;
    if version == Version::V2 && name.len() < SECRET_BYTES_MIN {
        return Err(Fault::malformed("must have at least 16 bytes in version 2").at("client_id"));
    }
    Ok(client)
}

/// Reads a `doc_id`.
pub(super) fn doc(fields: &mut Fields<'_>) -> Result<DocId, Fault> {
    let name = fields.text("doc_id")?;
    DocId::parse(&name).ok_or_else(|| Fault::malformed("is not a document name").at("doc_id"))
}

/// Reads the operations of one message.
pub(super) struct OpReader<'l> {
    version: Version,
    /// `None` for operations that the server has accepted: its limits may have been others then.
    limits: Option<&'l Limits>,
    count: u64,
    /// The name read last, because the next one is most often the same.
    recent: Option<ReplicaId>,
}

impl<'l> OpReader<'l> {
    /// For what a client asks for.
    pub(super) fn of_client(version: Version, limits: &'l Limits, client: &ReplicaId) -> Self {
        Self { version, limits: Some(limits), count: 0, recent: Some(client.clone()) }
    }

    /// For what the server sends.
    pub(super) fn of_server(version: Version) -> Self {
        Self { version, limits: None, count: 0, recent: None }
    }

    /// Reads an operation of the given type; `None` if there is no such type. Its fields are unknown ones then, and held
    /// to what those are held to.
    pub(super) fn op(&mut self, kind: &str, mut fields: Fields<'_>) -> Result<Option<Op>, Fault> {
        let v2 = self.version == Version::V2;
        let op = match kind {
            "ins" | "del" => return self.edit(kind, fields).map(Op::Edit).map(Some),
            "batch" if v2 => Op::Batch(self.batch(&mut fields)?),
            "retire" if v2 && self.limits.is_none() => Op::Retire { replica: self.named(&fields.text("client_id")?)? },
            _ => return fields.finish().map(|()| None),
        };
        fields.finish()?;
        Ok(Some(op))
    }

    fn batch(&mut self, fields: &mut Fields<'_>) -> Result<Vec<Edit>, Fault> {
        let edits_max = self.limits.map_or(usize::MAX, |limits| limits.batch_edits_max as usize);
        let depth = fields.inside() + 1;
        let mut edits = Vec::new();
        fields.list("ops", &mut |json| {
            if edits.len() == edits_max {
                return Err(Fault::of(Reject::OpTooLarge, "more edits than batch_edits_max"));
            }
            edits.push(self.item(json, depth)?);
            Ok(())
        })?;
        if edits.is_empty() { Err(Fault::malformed("must not be empty").at("ops")) } else { Ok(edits) }
    }

    /// Reads an edit out of a list; `depth` is its level.
    pub(super) fn item(&mut self, json: &str, depth: u8) -> Result<Edit, Fault> {
        if let Some(edit) = plain_edit(json).and_then(|edit| self.plain_edit(edit)) {
            return edit;
        }
        let mut fields = Fields::of(json, depth)?;
        let kind = fields.text("type")?;
        self.edit(&kind, fields)
    }

    /// Reads an operation the short way, if it is written so: see `plain`.
    pub(super) fn plain(&mut self, json: &str) -> Option<Result<Op, Fault>> {
        match plain_edit(json) {
            Some(edit) => self.plain_edit(edit).map(|edit| edit.map(Op::Edit)),
            None => self.plain_batch(json).map(|edits| Ok(Op::Batch(edits))),
        }
    }

    /// A batch in which nothing is wrong: of one in which something is, the long way says what and where.
    fn plain_batch(&mut self, json: &str) -> Option<Vec<Edit>> {
        if self.version == Version::V1 {
            return None;
        }
        let edits_max = self.limits.map_or(usize::MAX, |limits| limits.batch_edits_max as usize);
        let (edits, count) = (plain_batch(json, edits_max)?, self.count);
        let read: Option<Vec<Edit>> = edits.into_iter().map(|edit| self.plain_edit(edit)?.ok()).collect();
        if read.is_none() {
            self.count = count;
        }
        read
    }

    fn plain_edit(&mut self, edit: PlainEdit<'_>) -> Option<Result<Edit, Fault>> {
        match edit {
            PlainEdit::Insert { parent, id, value } => Some(self.plain_insert(parent, id, &value)),
            // Version 1 does not know the field.
            PlainEdit::Delete { len: Some(_), .. } if self.version == Version::V1 => None,
            PlainEdit::Delete { id, len } => {
                let id = self.minted(id, "id", false);
                Some(id.and_then(|id| self.deletion(id, len.unwrap_or(1))))
            }
        }
    }

    fn plain_insert(&mut self, parent: Id<'_>, id: Id<'_>, value: &str) -> Result<Edit, Fault> {
        let parent = self.minted(parent, "parent_id", true)?;
        let id = self.minted(id, "id", false)?;
        self.insertion(parent, id, value)
    }

    fn edit(&mut self, kind: &str, mut fields: Fields<'_>) -> Result<Edit, Fault> {
        let edit = match kind {
            "ins" => self.insert(&mut fields)?,
            "del" => self.delete(&mut fields)?,
            _ => return Err(Fault::malformed("must be ins or del").at("type")),
        };
        fields.finish()?;
        Ok(edit)
    }

    fn insert(&mut self, fields: &mut Fields<'_>) -> Result<Edit, Fault> {
        let parent = self.element(fields, "parent_id", true)?;
        let id = self.element(fields, "id", false)?;
        let value = fields.text("value")?;
        self.insertion(parent, id, &value)
    }

    fn insertion(&mut self, parent: ElementId, id: ElementId, value: &str) -> Result<Edit, Fault> {
        let count = char_count(value) as u64;
        let fault = |what| Err(Fault::malformed(what).at("value"));
        match self.version {
            Version::V1 if count != 1 => return fault("must be exactly one Unicode scalar value"),
            Version::V2 if count == 0 => return fault("must not be empty"),
            _ => self.take(&id, count)?,
        }
        let edit = Edit::Insert { parent, id, text: edit_text(value) };
        // Of a client the server asks it, with a code of its own.
        if self.limits.is_none() && !edit.is_younger_than_parent() {
            return Err(Fault::malformed("must be older than id (W-3)").at("parent_id"));
        }
        Ok(edit)
    }

    fn delete(&mut self, fields: &mut Fields<'_>) -> Result<Edit, Fault> {
        let id = self.element(fields, "id", false)?;
        let len = match self.version {
            Version::V1 => 1,
            Version::V2 => fields.integer_if_any("len")?.unwrap_or(1),
        };
        self.deletion(id, len)
    }

    fn deletion(&mut self, id: ElementId, len: u64) -> Result<Edit, Fault> {
        if len == 0 {
            return Err(Fault::malformed("must be at least 1").at("len"));
        }
        self.take(&id, len)?;
        let len = u32::try_from(len).map_err(|_| Fault::of(Reject::OpTooLarge, "is too large").at("len"))?;
        Ok(Edit::Delete { id, len })
    }

    /// Accounts for a run of `count` ids from `id` on.
    fn take(&mut self, id: &ElementId, count: u64) -> Result<(), Fault> {
        if id.lamport.checked_add(count - 1).is_none() {
            return Err(Fault::malformed("the run passes the largest lamport").at("id"));
        }
        self.count = self.count.saturating_add(count);
        match self.limits {
            Some(limits) if self.count > u64::from(limits.op_count_max) => {
                Err(Fault::of(Reject::OpTooLarge, "more elementary operations than op_count_max"))
            }
            _ => Ok(()),
        }
    }

    fn element(&mut self, fields: &mut Fields<'_>, field: &str, root_too: bool) -> Result<ElementId, Fault> {
        let (lamport, name) = fields.pair(field)?;
        self.minted((lamport, &name), field, root_too)
    }

    fn minted(&mut self, (lamport, name): Id<'_>, field: &str, root_too: bool) -> Result<ElementId, Fault> {
        if lamport == 0 && name == ElementId::ROOT_REPLICA && root_too {
            return Ok(ElementId::root());
        }
        if lamport == 0 {
            return Err(Fault::malformed("lamport must be at least 1").at(field));
        }
        let replica = self.named(name).map_err(|fault| fault.at(field))?;
        Ok(ElementId { lamport: Lamport(lamport), replica })
    }

    fn named(&mut self, name: &str) -> Result<ReplicaId, Fault> {
        match &self.recent {
            Some(recent) if is_same(recent.as_str(), name) => Ok(recent.clone()),
            _ => {
                let replica = replica(name, self.limits.map(|limits| limits.name_bytes_max))?;
                self.recent = Some(replica.clone());
                Ok(replica)
            }
        }
    }
}

/// Reads one operation object of version 2 by itself, as the server would send it.
///
/// # Errors
/// [`Malformed`] says what is wrong and where.
pub fn decode_op(json: &str) -> Result<Op, Malformed> {
    let mut reader = OpReader::of_server(Version::V2);
    if let Some(op) = reader.plain(json) {
        return Ok(op?);
    }
    let mut fields = Fields::of_frame(json)?;
    let kind = fields.text("type")?;
    let op = reader.op(&kind, fields)?;
    Ok(op.ok_or_else(|| Fault::malformed("is no operation of this version").at("type"))?)
}

/// Writes an operation object by itself.
pub fn encode_op(op: &Op) -> String {
    let mut writer = Writer::fragment();
    write_op(&mut writer, op);
    writer.finish_item()
}

/// Writes an operation as the value of a key.
pub(super) fn write_op(writer: &mut Writer, op: &Op) {
    match op {
        Op::Edit(edit) => write_edit(writer, edit),
        Op::Batch(edits) => {
            writer.open('{');
            writer.text("type", "batch");
            writer.key("ops");
            writer.open('[');
            edits.iter().for_each(|edit| write_edit(writer, edit));
            writer.close(']');
            writer.close('}');
        }
        Op::Retire { replica } => {
            writer.open('{');
            writer.text("type", "retire");
            writer.text("client_id", replica.as_str());
            writer.close('}');
        }
    }
}

/// Writes an edit as the value of a key or as an item. A `len` of 1 is left out, as version 1 has none.
pub(super) fn write_edit(writer: &mut Writer, edit: &Edit) {
    writer.open('{');
    match edit {
        Edit::Insert { parent, id, text } => {
            writer.text("type", "ins");
            writer.element("parent_id", parent);
            writer.element("id", id);
            writer.text("value", text);
        }
        Edit::Delete { id, len } => {
            writer.text("type", "del");
            writer.element("id", id);
            if *len != 1 {
                writer.number("len", u64::from(*len));
            }
        }
    }
    writer.close('}');
}

/// How many bytes an operation takes in JSON, if no name needs an escape.
pub(super) fn size_hint(op: &Op) -> usize {
    match op {
        Op::Edit(edit) => edit_size(edit),
        Op::Batch(edits) => {
            let commas = edits.len().saturating_sub(1);
            r#"{"type":"batch","ops":[]}"#.len() + edits.iter().map(edit_size).sum::<usize>() + commas
        }
        Op::Retire { replica } => r#"{"type":"retire","client_id":""}"#.len() + replica.as_str().len(),
    }
}

fn edit_size(edit: &Edit) -> usize {
    let element = |id: &ElementId| digit_count(id.lamport.0) + id.replica.as_str().len();
    match edit {
        Edit::Insert { parent, id, text } => {
            let text: usize = text.bytes().map(escaped_len).sum();
            r#"{"type":"ins","parent_id":[,""],"id":[,""],"value":""}"#.len() + element(parent) + element(id) + text
        }
        Edit::Delete { id, len: 1 } => r#"{"type":"del","id":[,""]}"#.len() + element(id),
        Edit::Delete { id, len } => {
            r#"{"type":"del","id":[,""],"len":}"#.len() + element(id) + digit_count(u64::from(*len))
        }
    }
}
