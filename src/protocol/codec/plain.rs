//! The short way for what comes most: an edit, a batch, or the message that asks for one, exactly as it is written here,
//! without white space or unknown fields, and without escapes but the short ones in what it inserts. It only takes the text apart; what the parts must be
//! is judged where the long way judges them, so both say the same of whatever this one takes.

use std::borrow::Cow;

use crate::id::INTEGER_MAX;

/// Lamport value and replica's name.
pub(super) type Id<'a> = (u64, &'a str);

/// An edit in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlainEdit<'a> {
    Insert { parent: Id<'a>, id: Id<'a>, value: Cow<'a, str> },
    Delete { id: Id<'a>, len: Option<u64> },
}

/// A version 2 `op` message in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainMessage<'a> {
    pub(super) doc: &'a str,
    pub(super) client: &'a str,
    pub(super) number: u64,
    pub(super) answered: u64,
    pub(super) epoch: u64,
    pub(super) seen: u64,
    /// What is between the key of the operation and the end, which need not be one operation.
    pub(super) op: &'a str,
}

/// Takes a message apart; `None` if it is written in any other way, right or wrong.
pub(super) fn plain_message(json: &str) -> Option<PlainMessage<'_>> {
    let mut rest = Rest(json);
    let doc = rest.name("{\"type\":\"op\",\"doc_id\":\"")?;
    let client = rest.name(",\"client_id\":\"")?;
    let number = rest.number(",\"client_msg_id\":")?;
    let answered = rest.number(",\"answered\":")?;
    let epoch = rest.number(",\"epoch\":")?;
    let seen = rest.number(",\"seen\":")?;
    rest.skip(",\"op\":")?;
    Some(PlainMessage { doc, client, number, answered, epoch, seen, op: rest.0.strip_suffix('}')? })
}

/// Takes an edit apart; `None` if it is written in any other way, right or wrong.
pub(super) fn plain_edit(json: &str) -> Option<PlainEdit<'_>> {
    let mut rest = Rest(json);
    let edit = rest.edit("")?;
    rest.0.is_empty().then_some(edit)
}

/// Takes a batch of at most so many edits apart; `None` if it is written in any other way, right or wrong.
pub(super) fn plain_batch(json: &str, edits_max: usize) -> Option<Vec<PlainEdit<'_>>> {
    let mut rest = Rest(json);
    rest.skip("{\"type\":\"batch\",\"ops\":[")?;
    let mut edits = vec![rest.edit("")?];
    while rest.skip(",").is_some() {
        let name = edits.last().map_or("", PlainEdit::name);
        edits.push(rest.edit(name)?);
    }
    (rest.0 == "]}" && edits.len() <= edits_max).then_some(edits)
}

impl<'a> PlainEdit<'a> {
    fn name(&self) -> &'a str {
        match self {
            Self::Insert { id, .. } | Self::Delete { id, .. } => id.1,
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// An edit, whose names are probably this one.
    fn edit(&mut self, likely: &'a str) -> Option<PlainEdit<'a>> {
        self.skip("{\"type\":\"")?;
        let edit = if self.skip("ins\",\"parent_id\":").is_some() {
            let parent = self.id(likely)?;
            self.skip(",\"id\":")?;
            let id = self.id(parent.1)?;
            self.skip(",\"value\":")?;
            PlainEdit::Insert { parent, id, value: self.text()? }
        } else {
            self.skip("del\",\"id\":")?;
            let id = self.id(likely)?;
            let len = if self.skip(",\"len\":").is_some() { Some(self.integer()?) } else { None };
            PlainEdit::Delete { id, len }
        };
        self.skip("}")?;
        Some(edit)
    }

    fn skip(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// A string without escapes, behind `before`, which ends in its quotation mark.
    fn name(&mut self, before: &str) -> Option<&'a str> {
        self.skip(before)?;
        let name = self.up_to_special();
        self.skip("\"")?;
        Some(name)
    }

    fn number(&mut self, before: &str) -> Option<u64> {
        self.skip(before)?;
        self.integer()
    }

    /// An id, whose name is probably this one.
    fn id(&mut self, likely: &'a str) -> Option<Id<'a>> {
        self.skip("[")?;
        let lamport = self.integer()?;
        self.skip(",\"")?;
        // A name that was read here has nothing in it that would end it.
        let name = match self.0.split_at_checked(likely.len()) {
            Some((name, behind)) if !name.is_empty() && is_same(name, likely) && behind.starts_with('"') => {
                self.0 = behind;
                name
            }
            _ => self.up_to_special(),
        };
        self.skip("\"]")?;
        Some((lamport, name))
    }

    fn integer(&mut self) -> Option<u64> {
        const DIGITS_MAX: usize = 16;
        let (mut len, mut value) = (0, 0);
        for byte in self.0.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || len > DIGITS_MAX {
                break;
            }
            (len, value) = (len + 1, value * 10 + u64::from(digit));
        }
        let is_canonical = (1..=DIGITS_MAX).contains(&len) && (len == 1 || !self.0.starts_with('0'));
        self.0 = &self.0[len..];
        (is_canonical && value <= INTEGER_MAX).then_some(value)
    }

    /// A string, with any of the escapes of two characters.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.skip("\"")?;
        let mut text = Cow::Borrowed(self.up_to_special());
        while !self.0.starts_with('"') {
            self.skip("\\")?;
            let escaped = match self.0.as_bytes().first()? {
                b'n' => "\n",
                b't' => "\t",
                b'r' => "\r",
                b'"' => "\"",
                b'\\' => "\\",
                b'/' => "/",
                b'b' => "\x08",
                b'f' => "\x0c",
                _ => return None,
            };
            self.0 = &self.0[1..];
            let behind = self.up_to_special();
            if text.is_empty() && behind.is_empty() {
                text = Cow::Borrowed(escaped);
            } else {
                text.to_mut().push_str(escaped);
                text.to_mut().push_str(behind);
            }
        }
        self.0 = &self.0[1..];
        Some(text)
    }

    /// All up to what ends a string, begins an escape or must not be in one, or to the end.
    fn up_to_special(&mut self) -> &'a str {
        let (text, behind) = self.0.split_at(plain_len(self.0));
        self.0 = behind;
        text
    }
}

/// How many bytes come before the first that ends a string, begins an escape or must not be in one.
pub(super) fn plain_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut words = bytes.chunks_exact(8).map(word);
    let plain = 8 * words.position(has_special).unwrap_or(bytes.len() / 8);
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes[plain..].iter().position(is_special).map_or(bytes.len(), |at| plain + at)
}

/// Whether two names are the same. They are short, have just been read or written, and the C library's way to compare is
/// slow for that: it waits for memory.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (mut a_words, mut b_words) = (a.chunks_exact(8), b.chunks_exact(8));
    let are_same = a_words.by_ref().zip(b_words.by_ref()).all(|(a, b)| word(a) == word(b));
    let mut rest = a_words.remainder().iter().zip(b_words.remainder());
    a.len() == b.len() && are_same && rest.all(|(a, b)| a == b)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Whether one of eight bytes is a quotation mark, a backslash or below a space (Mycroft's test, of all at once).
fn has_special(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let has_below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
    let special = has_below(word ^ (ONES * 0x22), 1) | has_below(word ^ (ONES * 0x5c), 1) | has_below(word, 0x20);
    special & (ONES * 0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(value: &str) -> Option<String> {
        let json = format!("{{\"type\":\"ins\",\"parent_id\":[1,\"ab\"],\"id\":[2,\"abc\"],\"value\":\"{value}\"}}");
        match plain_edit(&json)? {
            PlainEdit::Insert { parent: (1, "ab"), id: (2, "abc"), value } => Some(value.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn short_escapes_are_read_and_others_are_not() {
        let short = ["\\n", "\\t", "\\r", "\\\"", "\\\\", "\\/", "\\b", "\\f"];
        for escape in short {
            let meant: String = serde_json::from_str(&format!("\"{escape}\"")).unwrap();
            for (before, behind) in [("", ""), ("x", ""), ("", "y"), ("12345678", "123456789"), (escape, escape)] {
                let expected: String = serde_json::from_str(&format!("\"{before}{escape}{behind}\"")).unwrap();
                assert!(expected.contains(&meant));
                assert_eq!(inserted(&format!("{before}{escape}{behind}")), Some(expected));
            }
        }
        for other in ["\\u0041", "\\x", "\\", "\n", "a\u{1f}", "1234567\0"] {
            assert_eq!(inserted(other), None, "{other:?}");
        }
    }

    #[test]
    fn eight_bytes_at_once_are_as_one_by_one() {
        for special in 0..=255_u8 {
            for at in 0..8 {
                for other in [b' ', b'#', b'!', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = [other; 8];
                    bytes[at] = special;
                    let expected = bytes.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                    assert_eq!(has_special(u64::from_le_bytes(bytes)), expected, "{bytes:?}");
                }
            }
        }
        for (a, b) in [("", "x"), ("12345678", "12345678x"), ("123456789", "123456780"), ("x2345678", "y2345678")] {
            assert!(is_same(a, a) && is_same(b, b) && !is_same(a, b) && !is_same(b, a));
        }
    }
}
