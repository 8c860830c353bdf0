//! WebSocket frames (RFC 6455, section 5): whatever a client may or may not send, and what a server may.

/// The largest message that the runner takes.
const MESSAGE_BYTES_MAX: usize = 1 << 28;
/// Any key will do: masking protects proxies, and there is none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The head of a frame that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) fin: bool,
    pub(crate) masked: bool,
    /// The three reserved bits.
    pub(crate) rsv: u8,
}

impl Head {
    /// A frame as a client should send it.
    pub(crate) const fn whole(opcode: u8) -> Self {
        Self { opcode, fin: true, masked: true, rsv: 0 }
    }
}

/// The bytes of a frame.
pub(crate) fn encode(head: Head, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(u8::from(head.fin) << 7 | (head.rsv & 7) << 4 | (head.opcode & 15));
    let masked = u8::from(head.masked) << 7;
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(masked | length),
        (_, Ok(length)) => {
            bytes.push(masked | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if head.masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// A frame that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Received {
    opcode: u8,
    fin: bool,
    payload: Vec<u8>,
}

/// What the frames of a server amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// Puts frames together from bytes, and messages from frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// What was read of the bytes.
    taken: usize,
    /// The kind of the message whose end is missing, and its beginning.
    begun: Option<(u8, Vec<u8>)>,
    /// Whether the frames are a client's, and so masked.
    of_client: bool,
}

impl Decoder {
    /// Of what a client sends.
    pub(crate) fn of_client() -> Self {
        Self { of_client: true, ..Self::default() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole unit, if it has come.
    ///
    /// # Errors
    /// What RFC 6455 does not allow a server, in one sentence.
    pub(crate) fn next(&mut self) -> Result<Option<Unit>, String> {
        while let Some(frame) = self.frame()? {
            if let Some(unit) = self.unit(frame)? {
                return Ok(Some(unit));
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Received>, String> {
        let bytes = &self.bytes[self.taken..];
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if (second & 0x80 != 0) != self.of_client {
            let fault = if self.of_client { "a frame of the client is not" } else { "a frame of the server is" };
            return Err(format!("{fault} masked"));
        }
        let second = second & 0x7f;
        if first & 0x70 != 0 {
            return Err("a frame of the server has reserved bits".to_owned());
        }
        let (length, head) = match (second, rest) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
            (126 | 127, _) => return Ok(None),
            (length, _) => (u64::from(length), 2),
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
        let length = length.ok_or_else(|| "a frame of the server is too long".to_owned())?;
        let mask_length = if self.of_client { 4 } else { 0 };
        let Some(masked) = bytes.get(head..head + mask_length + length) else { return Ok(None) };
        let (mask, payload) = masked.split_at(mask_length);
        let payload = match mask {
            [] => payload.to_vec(),
            mask => payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
        };
        let frame = Received { opcode: first & 15, fin: first & 0x80 != 0, payload };
        self.taken += head + mask_length + length;
        if frame.opcode >= CLOSE && (!frame.fin || length > 125) {
            return Err("a control frame of the server is in parts or too long".to_owned());
        }
        Ok(Some(frame))
    }

    fn unit(&mut self, Received { opcode, fin, payload }: Received) -> Result<Option<Unit>, String> {
        match opcode {
            PING => return Ok(Some(Unit::Ping(payload))),
            PONG => return Ok(Some(Unit::Pong(payload))),
            CLOSE => return close(&payload).map(Some),
            CONTINUATION => match &mut self.begun {
                Some((_, begun)) => begun.extend(payload),
                None => return Err("the server goes on with a message that it has not begun".to_owned()),
            },
            TEXT | BINARY if self.begun.is_some() => {
                return Err("the server begins a message inside of another".to_owned());
            }
            TEXT | BINARY => self.begun = Some((opcode, payload)),
            _ => return Err(format!("the server sends a frame with the opcode {opcode}")),
        }
        let Some((kind, whole)) = self.begun.take_if(|_| fin) else { return Ok(None) };
        if kind == BINARY {
            return Ok(Some(Unit::Binary(whole)));
        }
        String::from_utf8(whole)
            .map(|text| Some(Unit::Text(text)))
            .map_err(|_| "a text of the server is not UTF-8".to_owned())
    }
}

fn close(payload: &[u8]) -> Result<Unit, String> {
    match payload {
        [] => Ok(Unit::Close(None, String::new())),
        [_] => Err("a close frame of the server has half a code".to_owned()),
        [a, b, reason @ ..] => {
            let reason = std::str::from_utf8(reason).map_err(|_| "a close reason is not UTF-8".to_owned())?;
            Ok(Unit::Close(Some(u16::from_be_bytes([*a, *b])), reason.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(opcode: u8, fin: bool) -> Head {
        Head { opcode, fin, masked: false, rsv: 0 }
    }

    /// What comes out when the bytes come in one by one.
    fn decode(bytes: &[u8]) -> Result<Vec<Unit>, String> {
        let mut decoder = Decoder::default();
        let mut units = Vec::new();
        for byte in bytes {
            decoder.feed(&[*byte]);
            while let Some(unit) = decoder.next()? {
                units.push(unit);
            }
        }
        Ok(units)
    }

    #[test]
    fn a_frame_is_as_rfc_6455_shows_it() {
        // Section 5.7.
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(encode(Head::whole(TEXT), b"Hello"), masked);
        assert_eq!(encode(head(TEXT, false), b"Hel"), [0x01, 0x03, 0x48, 0x65, 0x6c]);
        assert_eq!(encode(Head { rsv: 4, ..head(PING, true) }, b""), [0xc9, 0x00]);
        assert_eq!(encode(head(BINARY, true), &[0; 256])[..4], [0x82, 126, 1, 0]);
        assert_eq!(encode(head(BINARY, true), &[0; 65536])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn messages_are_put_together() {
        let mut bytes = encode(head(TEXT, false), b"a");
        bytes.extend(encode(head(PING, true), b"p"));
        bytes.extend(encode(head(CONTINUATION, true), "é".as_bytes()));
        bytes.extend(encode(head(BINARY, true), &[7; 300]));
        bytes.extend(encode(head(PONG, true), b""));
        bytes.extend(encode(head(CLOSE, true), b"\x03\xe9why"));
        let close = Unit::Close(Some(1001), "why".to_owned());
        let text = Unit::Text("aé".to_owned());
        let all = vec![Unit::Ping(b"p".to_vec()), text, Unit::Binary(vec![7; 300]), Unit::Pong(Vec::new()), close];
        assert_eq!(decode(&bytes), Ok(all));
    }

    #[test]
    fn what_a_server_may_not_send_is_found() {
        let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
        for (bytes, says) in [
            (encode(Head::whole(TEXT), b"a"), "masked"),
            (encode(Head { rsv: 1, ..head(TEXT, true) }, b"a"), "reserved bits"),
            (encode(head(CONTINUATION, true), b"a"), "has not begun"),
            (two(encode(head(TEXT, false), b"a"), encode(head(TEXT, true), b"a")), "inside of another"),
            (encode(head(3, true), b"a"), "opcode 3"),
            (encode(head(TEXT, true), b"\xff"), "not UTF-8"),
            (encode(head(CLOSE, true), b"\x03"), "half a code"),
            (encode(head(PING, false), b""), "control frame"),
            (encode(head(PING, true), &[0; 126]), "control frame"),
            (vec![0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0], "too long"),
        ] {
            let error = decode(&bytes).unwrap_err();
            assert!(error.contains(says), "{error:?} does not say {says:?}");
        }
    }
}
