//! The short way for what comes most: an edit exactly as it is written here, without white space, escapes or unknown
//! fields. It only takes the text apart; what the parts must be is judged where the long way judges them, so both say the
//! same of whatever this one takes.

use crate::id::INTEGER_MAX;

/// Lamport value and replica's name.
pub(super) type Id<'a> = (u64, &'a str);

/// An edit in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlainEdit<'a> {
    Insert { parent: Id<'a>, id: Id<'a>, value: &'a str },
    Delete { id: Id<'a>, len: Option<u64> },
}

/// Takes an edit apart; `None` if it is written in any other way, right or wrong.
pub(super) fn plain_edit(json: &str) -> Option<PlainEdit<'_>> {
    let mut rest = Rest(json);
    rest.skip("{\"type\":\"")?;
    let edit = if rest.skip("ins\",\"parent_id\":").is_some() {
        let parent = rest.id()?;
        rest.skip(",\"id\":")?;
        let id = rest.id()?;
        rest.skip(",\"value\":")?;
        PlainEdit::Insert { parent, id, value: rest.string()? }
    } else {
        rest.skip("del\",\"id\":")?;
        let id = rest.id()?;
        let len = if rest.skip(",\"len\":").is_some() { Some(rest.integer()?) } else { None };
        PlainEdit::Delete { id, len }
    };
    (rest.0 == "}").then_some(edit)
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn id(&mut self) -> Option<Id<'a>> {
        self.skip("[")?;
        let lamport = self.integer()?;
        self.skip(",")?;
        let name = self.string()?;
        self.skip("]")?;
        Some((lamport, name))
    }

    fn integer(&mut self) -> Option<u64> {
        const DIGITS_MAX: usize = 16;
        let digits = self.0.bytes().take(DIGITS_MAX + 1).take_while(u8::is_ascii_digit);
        let (len, value) = digits.fold((0, 0), |(len, value), digit| (len + 1, value * 10 + u64::from(digit - b'0')));
        let is_canonical = (1..=DIGITS_MAX).contains(&len) && (len == 1 || !self.0.starts_with('0'));
        self.0 = &self.0[len..];
        (is_canonical && value <= INTEGER_MAX).then_some(value)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.skip("\"")?;
        let end = self.0.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        let (text, behind) = self.0.split_at(end);
        self.0 = behind.strip_prefix('"')?;
        Some(text)
    }
}
