//! One step of a scenario as it stands in its file. `FORMAT.md` says what each field means.

use std::num::NonZeroUsize;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// A step: what the runner does, and what all kinds of steps may say beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What a reader should know.
    pub note: String,
    /// The ids of docs/protocol.md that this expectation tests; if there are none, those of the scenario.
    pub tests: Vec<String>,
    /// Whether the server only should do what is expected here.
    pub should: bool,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Opens the connection.
    Connect {
        /// Which.
        on: String,
        /// Whether a naive replica is fed by what is taken from it.
        #[serde(default)]
        replica: bool,
    },
    /// Sends a message.
    Send {
        /// Where.
        on: String,
        /// The message, in which operators stand for values.
        message: Map<String, Value>,
        /// How long it is made with spaces behind it.
        bytes: Option<Value>,
    },
    /// Sends text that need not be a message.
    SendText {
        /// Where.
        on: String,
        /// The text.
        text: Value,
        /// How long it is made with spaces behind it.
        bytes: Option<Value>,
    },
    /// Sends one WebSocket frame.
    SendFrame(Frame),
    /// Sends bytes that need not be a frame.
    SendBytes {
        /// Where.
        on: String,
        /// The bytes as hexadecimal digits.
        hex: Value,
    },
    /// Everything that is sent behind it goes out in pieces; without `bytes`, whole again.
    Pace {
        /// Where.
        on: String,
        /// How many bytes a piece has.
        bytes: Option<NonZeroUsize>,
    },
    /// Reads nothing more from the connection.
    StopReading {
        /// Which.
        on: String,
    },
    /// Reads again.
    Resume {
        /// Which.
        on: String,
    },
    /// Takes the next message, which must fit.
    Expect {
        /// Where.
        on: String,
        /// What is said about it: a pattern.
        message: Value,
        /// Text that stands in it as it was sent.
        raw: Option<Value>,
        /// How long it may be.
        bytes_max: Option<Value>,
        /// How many seconds it may take, if that is more than the runner's deadline.
        wait_s: Option<u32>,
    },
    /// Takes messages up to the first that fits.
    Until {
        /// Where.
        on: String,
        /// What is said about the last one: a pattern.
        message: Value,
    },
    /// From here on no message may fit.
    Forbid {
        /// Where.
        on: String,
        /// What is said about it: a pattern.
        message: Value,
    },
    /// Takes the end of the connection.
    ExpectClose {
        /// Where.
        on: String,
        /// The code of the close frame, or several that are right; without it, any end will do.
        code: Option<Codes>,
        /// Its reason: a pattern; any, if absent.
        reason: Option<Value>,
        /// Whether the server must also answer the close frame and end the connection.
        #[serde(default)]
        clean: bool,
        /// How many seconds it may take, if that is more than the runner's deadline.
        wait_s: Option<u32>,
    },
    /// Waits for a pong.
    ExpectPong {
        /// Where.
        on: String,
        /// What it carries.
        #[serde(default)]
        text: String,
    },
    /// All named replicas show the same text.
    Check {
        /// The connections that they belong to.
        replicas: Vec<String>,
        /// The text; any, if absent.
        text: Option<Value>,
    },
    /// Breaks the connection off, without a close frame.
    Drop {
        /// Which.
        on: String,
    },
    /// Closes the connection, as a server may.
    Close {
        /// Which.
        on: String,
        /// The code of the close frame.
        code: u16,
        /// Its reason.
        #[serde(default)]
        reason: String,
    },
    /// Tells the client under test to do something.
    Tell {
        /// What, as `CLIENTS.md` says.
        command: Map<String, Value>,
    },
    /// What the client under test says of itself comes to fit.
    Report {
        /// A pattern.
        fits: Value,
    },
    /// Carries out several lists of steps, each in its order.
    Par {
        /// The lists.
        branches: Vec<Vec<Step>>,
    },
    /// Carries out the one list of steps that the next frame fits.
    Either {
        /// The lists.
        branches: Vec<Vec<Step>>,
    },
    /// Carries out the steps several times.
    Repeat {
        /// How often.
        times: Value,
        /// The name of the number of the round, from 0.
        #[serde(rename = "as")]
        name: Option<String>,
        /// What is repeated.
        steps: Vec<Step>,
    },
    /// The server begins anew and forgets everything.
    Reset {},
    /// The server ends in order, and comes back.
    Restart {},
    /// The server ends as if it crashed, and comes back.
    Kill {},
}

/// One WebSocket frame, right or wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Where.
    pub on: String,
    /// What it is: 0 to 15.
    pub opcode: u8,
    /// Whether it ends its message.
    #[serde(default = "yes")]
    pub fin: bool,
    /// Whether it is masked, as a client's must be.
    #[serde(default = "yes")]
    pub masked: bool,
    /// The three reserved bits as a number, 0 to 7.
    #[serde(default)]
    pub rsv: u8,
    /// What it carries, as text.
    pub text: Option<Value>,
    /// What it carries, as hexadecimal digits.
    pub hex: Option<Value>,
}

fn yes() -> bool {
    true
}

/// One close code, or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Codes {
    /// This one.
    One(u16),
    /// Any of these.
    OneOf(Vec<u16>),
}

impl Codes {
    /// All that are right.
    pub fn all(&self) -> &[u16] {
        match self {
            Self::One(code) => std::slice::from_ref(code),
            Self::OneOf(codes) => codes,
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let note = fields.remove("note").map(serde_json::from_value).transpose();
        let tests = fields.remove("tests").map(serde_json::from_value).transpose();
        let should = fields.remove("should").map(serde_json::from_value).transpose();
        let action = serde_json::from_value(Value::Object(fields)).map_err(de::Error::custom)?;
        Ok(Self {
            note: note.map_err(de::Error::custom)?.unwrap_or_default(),
            tests: tests.map_err(de::Error::custom)?.unwrap_or_default(),
            should: should.map_err(de::Error::custom)?.unwrap_or_default(),
            action,
        })
    }
}

impl Step {
    /// Whether it says something that the server can fail to do.
    pub fn is_expectation(&self) -> bool {
        matches!(
            self.action,
            Action::Expect { .. }
                | Action::Until { .. }
                | Action::Forbid { .. }
                | Action::ExpectClose { .. }
                | Action::ExpectPong { .. }
                | Action::Check { .. }
                | Action::Report { .. }
        )
    }

    /// The connections that it names itself; those of steps inside of it are not among them.
    pub fn on(&self) -> &[String] {
        match &self.action {
            Action::Connect { on, .. }
            | Action::Send { on, .. }
            | Action::SendText { on, .. }
            | Action::SendFrame(Frame { on, .. })
            | Action::SendBytes { on, .. }
            | Action::Pace { on, .. }
            | Action::StopReading { on }
            | Action::Resume { on }
            | Action::Expect { on, .. }
            | Action::Until { on, .. }
            | Action::Forbid { on, .. }
            | Action::ExpectClose { on, .. }
            | Action::ExpectPong { on, .. }
            | Action::Close { on, .. }
            | Action::Drop { on } => std::slice::from_ref(on),
            Action::Check { replicas, .. } => replicas,
            Action::Par { .. }
            | Action::Either { .. }
            | Action::Repeat { .. }
            | Action::Tell { .. }
            | Action::Report { .. }
            | Action::Reset {}
            | Action::Restart {}
            | Action::Kill {} => &[],
        }
    }

    /// The steps inside of it.
    pub fn inner(&self) -> impl Iterator<Item = &Step> {
        let (branches, steps): (&[Vec<Step>], &[Step]) = match &self.action {
            Action::Par { branches } | Action::Either { branches } => (branches, &[]),
            Action::Repeat { steps, .. } => (&[], steps),
            _ => (&[], &[]),
        };
        branches.iter().flatten().chain(steps)
    }

    /// Calls `visit` for it and for every step inside of it.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Step)) {
        visit(self);
        for step in self.inner() {
            step.walk(visit);
        }
    }
}
