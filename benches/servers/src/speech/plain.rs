//! The messages of this project, which the broadcaster sends back as they are.

use std::ops::RangeInclusive;

use memchr::memmem;
use tokio_tungstenite::tungstenite::Message;

use super::collab::{Writer, number_behind};
use super::{Heard, Operations, Speech};

/// A client of the broadcaster.
#[derive(Debug)]
pub(super) struct Plain {
    document: String,
    index: usize,
    writer: Writer,
}

impl Plain {
    pub(super) fn new(document: &str, index: usize) -> Self {
        Self { document: document.to_owned(), index, writer: Writer::new(document, index) }
    }
}

impl Speech for Plain {
    fn path(&self) -> String {
        format!("/ws/{}", self.document)
    }

    fn opening(&mut self) -> Vec<Message> {
        Vec::new()
    }

    fn waits(&self) -> bool {
        false
    }

    fn hear(&mut self, frame: &Message, heard: &mut Heard) -> Result<(), String> {
        let Message::Text(text) = frame else { return Err(format!("not an operation: {frame:?}")) };
        let frame = text.as_bytes();
        let field = |name: &[u8]| number_behind(frame, memmem::find(frame, name)? + name.len());
        let (Some(writer), Some(number)) = (field(b"\"client_id\":\"bench-"), field(b"\"client_msg_id\":")) else {
            return Err(format!("not an operation: {text}"));
        };
        let writer = writer as usize;
        if writer == self.index {
            self.writer.answered = number;
            heard.answered = Some(number);
        }
        heard.operations.push(Operations { writer, numbers: number..=number });
        Ok(())
    }

    fn say(&mut self, numbers: RangeInclusive<u64>) -> Message {
        self.writer.message(*numbers.start())
    }
}
