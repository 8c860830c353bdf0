//! A script and its clients, whoever they speak to: what an act means becomes a list of things to do on connections.

use fastrand::Rng;
use serde_json::Value;

use super::act::{Act, Illegal, Join, Kind};
use super::player::Player;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Opens the next connection; whose it is, if it is anybody's.
    Open {
        of: Option<usize>,
    },
    /// Sends a text.
    Send {
        on: usize,
        text: String,
    },
    /// Waits until what is `of` a client has joined, or is settled, or is gone.
    Joined {
        of: usize,
    },
    Settled {
        of: usize,
    },
    /// Waits until the server has refused what a connection began with, or has not.
    Judged {
        on: usize,
    },
    /// Sends again what is unanswered, once the client knows what is.
    Resubmit {
        of: usize,
    },
    Cut {
        on: usize,
    },
    Hook {
        name: &'static str,
    },
}

/// All clients of a session.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    pub(crate) players: Vec<Player>,
    /// For each connection whose it is.
    pub(crate) owners: Vec<Option<usize>>,
}

/// Which versions the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    One,
    Two,
    Both,
}

impl Versions {
    fn is_2(self, client: usize) -> bool {
        match self {
            Self::One => false,
            Self::Two => true,
            Self::Both => client % 3 != 2,
        }
    }
}

impl Cast {
    pub(crate) fn new(clients: usize, versions: Versions, doc: &str, lamport_jump_max: u64) -> Self {
        let player = |client| Player::new(client, versions.is_2(client), doc, lamport_jump_max);
        Self { players: (0..clients).map(player).collect(), owners: Vec::new() }
    }

    fn open(&mut self, of: Option<usize>) -> usize {
        self.owners.push(of);
        self.owners.len() - 1
    }

    /// What an act means now.
    pub(crate) fn deeds(&mut self, act: &Act) -> Vec<Deed> {
        let mut rng = Rng::with_seed(act.seed);
        let of = act.client;
        if of >= self.players.len() {
            return Vec::new();
        }
        match act.kind {
            Kind::Join(how) => return self.join(of, how, rng.bool()),
            Kind::Rekey => {
                let is_new = self.players[of].rekey();
                return if is_new { self.join(of, Join::Resync, false) } else { Vec::new() };
            }
            Kind::Stray(kind) => {
                let Some(hello) = self.players[of].stray(kind) else { return Vec::new() };
                let on = self.open(None);
                return vec![Deed::Open { of: None }, Deed::Send { on, text: hello.to_string() }, Deed::Judged { on }];
            }
            Kind::Kill => return vec![Deed::Hook { name: "kill" }],
            Kind::Restart => return vec![Deed::Hook { name: "restart" }],
            _ => {}
        }
        let Some(on) = self.players[of].on else { return Vec::new() };
        if act.kind == Kind::Cut {
            self.players[of].left();
            return vec![Deed::Cut { on }];
        }
        let player = &mut self.players[of];
        let messages: Vec<Value> = match act.kind {
            Kind::Insert => vec![player.insert(&mut rng)],
            Kind::Delete => player.delete(&mut rng).into_iter().collect(),
            Kind::Batch => player.batch(&mut rng).into_iter().collect(),
            Kind::Ahead => player.ahead(),
            Kind::Resend => player.resend(&mut rng).into_iter().collect(),
            Kind::Sync => player.sync().into_iter().collect(),
            Kind::Settle => return vec![Deed::Settled { of }],
            Kind::Illegal(kind) => return self.illegal(of, on, kind, &mut rng),
            _ => Vec::new(),
        };
        messages.into_iter().map(|message| Deed::Send { on, text: message.to_string() }).collect()
    }

    fn illegal(&self, of: usize, on: usize, kind: Illegal, rng: &mut Rng) -> Vec<Deed> {
        let text = self.players[of].illegal(kind, rng);
        text.into_iter().map(|text| Deed::Send { on, text }).collect()
    }

    /// Joins; `is_hasty` says that it does not wait for the answer.
    fn join(&mut self, of: usize, how: Join, is_hasty: bool) -> Vec<Deed> {
        let on = self.open(Some(of));
        let player = &mut self.players[of];
        let hello = player.join(on, how);
        let mut deeds = vec![Deed::Open { of: Some(of) }, Deed::Send { on, text: hello.to_string() }];
        if is_hasty && !matches!(how, Join::OtherTerm | Join::Beyond) {
            let again = player.resubmission();
            deeds.extend(again.into_iter().map(|message| Deed::Send { on, text: message.to_string() }));
        } else {
            deeds.extend([Deed::Joined { of }, Deed::Resubmit { of }]);
        }
        deeds
    }

    /// Brings everybody in who is not.
    pub(crate) fn gather(&mut self, of: usize) -> Vec<Deed> {
        if self.players[of].on.is_some() {
            return vec![Deed::Joined { of }];
        }
        self.join(of, Join::Resume, false)
    }

    /// A barrier of a client that has joined: a `sync`, or in version 1 an operation of its own.
    pub(crate) fn barrier(&mut self, of: usize) -> Vec<Deed> {
        let player = &mut self.players[of];
        let Some(on) = player.on else { return Vec::new() };
        let message = player.sync().unwrap_or_else(|| player.insert(&mut Rng::with_seed(1)));
        vec![Deed::Send { on, text: message.to_string() }, Deed::Settled { of }]
    }

    /// Something came on a connection.
    pub(crate) fn hear(&mut self, on: usize, message: &Value) {
        if let Some(player) = self.player_on(on) {
            player.hear(message);
        }
    }

    /// A connection has ended.
    pub(crate) fn left(&mut self, on: usize) {
        if let Some(player) = self.player_on(on) {
            player.left();
        }
    }

    /// The client that speaks on a connection now.
    fn player_on(&mut self, on: usize) -> Option<&mut Player> {
        let player = &mut self.players[self.owners.get(on).copied().flatten()?];
        (player.on == Some(on)).then_some(player)
    }
}
