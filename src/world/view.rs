//! Read-only looks at a world, for tables, charts and stories. Nothing here decides anything.

use super::{Action, Disk, Frame, Link, Shared, World};
use crate::id::{ServerSeq, SessionId};
use crate::protocol::message::ClientMessage;
use crate::protocol::server::ServerState;

/// What kind of thing an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What remains when everybody stops typing and the network heals.
    Progress,
    /// A local edit, or anything else that a user does.
    Edit,
    /// Something that goes wrong, or that an operator does.
    Fault,
}

impl Action {
    /// What kind of thing it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Insert(..) | Self::Delete(..) | Self::Barrier(_) => Kind::Edit,
            Self::Connect(_)
            | Self::Up(_)
            | Self::Send(_)
            | Self::Deliver(_)
            | Self::Notice(_)
            | Self::Sync
            | Self::Restart => Kind::Progress,
            Self::Break(_)
            | Self::Crash(_)
            | Self::Truncate
            | Self::Foreign
            | Self::Rekey(_)
            | Self::Reload(_)
            | Self::Swap(_)
            | Self::FailAppend(_)
            | Self::Restore(_)
            | Self::Repeat(_)
            | Self::Stray(_) => Kind::Fault,
        }
    }
}

/// One connection, and what is under way on it.
#[derive(Clone, Debug)]
pub struct LinkView<'a> {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub client: usize,
    /// What the client sent and the server has not processed, oldest first.
    pub up: Vec<&'a Shared<ClientMessage>>,
    /// What the server sent and the client has not processed, oldest first.
    pub down: Vec<&'a Frame>,
    /// Whether the client's end is open.
    pub is_client_open: bool,
    /// Whether the server's end is open.
    pub is_server_open: bool,
    /// The last number that the server sent on it, once the client has joined.
    pub cursor: Option<ServerSeq>,
    /// Whether the server has decided to close it, whatever else it wanted to say.
    pub is_closing: bool,
    /// Whether the client has joined or was refused, and there is nothing to say to it.
    pub is_idle: bool,
}

impl World {
    /// Every connection of which at least one end is open, oldest first.
    pub fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.links.iter().map(|(session, link)| self.view(*session, link))
    }

    /// One connection.
    pub fn link(&self, session: SessionId) -> Option<LinkView<'_>> {
        self.links.get(&session).map(|link| self.view(session, link))
    }

    fn view<'a>(&'a self, session: SessionId, link: &'a Link) -> LinkView<'a> {
        let node = self.sites[link.site].node.as_ref();
        let feed = node.and_then(|node| Some((node, node.feeds.get(&session)?)));
        LinkView {
            session,
            client: link.client,
            up: link.up.iter().collect(),
            down: link.down.iter().collect(),
            is_client_open: link.is_client_open,
            is_server_open: link.is_server_open,
            cursor: feed.map(|(_, feed)| feed.cursor()),
            is_closing: feed.is_some_and(|(_, feed)| feed.is_closing()),
            is_idle: feed.is_some_and(|(node, feed)| feed.is_idle(&node.ring)),
        }
    }

    /// What the server would send next on a connection.
    pub fn next_frames(&self, session: SessionId) -> Vec<Frame> {
        let sent = self.link(session).map_or(0, |link| link.down.len());
        let mut after = self.clone();
        after.send(session);
        after.links.get(&session).map(|link| link.down.iter().skip(sent).cloned().collect()).unwrap_or_default()
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.sites.len()
    }

    /// Which document a client edits.
    pub fn document_of(&self, client: usize) -> usize {
        self.site_of(client)
    }

    /// The disk of a document.
    pub fn disk_of(&self, document: usize) -> &Disk {
        &self.sites[document].disk
    }

    /// The server of a document, unless it is down or has stopped.
    pub fn server_of(&self, document: usize) -> Option<&ServerState> {
        self.sites[document].running().map(|node| &*node.state)
    }

    /// What a client would type next.
    pub fn next_text(&self, client: usize) -> String {
        self.fresh_text(client)
    }

    /// How many edits each client may still make.
    pub fn edits_left(&self) -> &[u8] {
        &self.budget.edits
    }
}
