//! A model small enough to know all about it: a token on a line, that can be broken in every way a check must notice.

use collab_model::engine::chart::{At, Chart};
use collab_model::engine::watch::{Situation, Watch};
use collab_model::engine::{Explorable, Kind};
use serde::{Deserialize, Serialize};
use stateright::{Model, Property};

/// What is wrong with a toy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flaws {
    /// From the last place the token goes back without an edit.
    pub(crate) cycles: bool,
    /// It must not come here.
    pub(crate) forbidden: Option<u8>,
    /// It comes to rest at an odd place.
    pub(crate) rests_at_odd: bool,
    /// A situation is required that nothing leads to.
    pub(crate) requires_too_much: bool,
}

/// A token moves right by one, by itself; an edit moves it by two; a fault by none, but only once.
#[derive(Clone, Debug)]
pub(crate) struct Toy {
    pub(crate) length: u8,
    pub(crate) flaws: Flaws,
    watch: Watch,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) at: u8,
    pub(crate) has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Move {
    Step,
    Leap,
    Back,
    Fail,
}

impl Toy {
    pub(crate) fn new(length: u8, flaws: Flaws) -> Self {
        let end = Situation { name: "the end is reached", is_required: true };
        let never = Situation { name: "pigs fly", is_required: flaws.requires_too_much };
        Self { length, flaws, watch: Watch::new(vec![end, never]) }
    }
}

impl Model for Toy {
    type State = Token;
    type Action = Move;

    fn init_states(&self) -> Vec<Token> {
        vec![Token { at: 0, has_failed: false }]
    }

    fn actions(&self, token: &Token, actions: &mut Vec<Move>) {
        if self.watch.expand() {
            actions.extend(self.enabled(token));
        }
    }

    fn next_state(&self, token: &Token, action: Move) -> Option<Token> {
        let next = match action {
            Move::Step => Token { at: token.at + 1, ..token.clone() },
            Move::Leap => Token { at: token.at + 2, ..token.clone() },
            Move::Back => Token { at: token.at - 1, ..token.clone() },
            Move::Fail => Token { has_failed: true, ..token.clone() },
        };
        if next.at == self.length {
            self.watch.meet(0);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("Allowed", |toy: &Self, token: &Token| toy.flaws.forbidden != Some(token.at))]
    }
}

impl Explorable for Toy {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn violation(&self, token: &Token) -> Option<(&'static str, String)> {
        (self.flaws.forbidden == Some(token.at)).then(|| ("Allowed", format!("the token is at {}", token.at)))
    }

    fn enabled(&self, token: &Token) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.violation(token).is_some() {
            return moves;
        }
        if token.at < self.length {
            moves.push(Move::Step);
        }
        if token.at + 1 < self.length {
            moves.push(Move::Leap);
        }
        if self.flaws.cycles && token.at == self.length {
            moves.push(Move::Back);
        }
        if !token.has_failed {
            moves.push(Move::Fail);
        }
        moves
    }

    fn kind(&self, action: &Move) -> Kind {
        match action {
            Move::Step | Move::Back => Kind::Progress,
            Move::Leap => Kind::Edit,
            Move::Fail => Kind::Fault,
        }
    }

    fn unsettled(&self, token: &Token) -> Option<String> {
        (self.flaws.rests_at_odd && token.at % 2 == 1).then(|| "the token rests at an odd place".to_owned())
    }

    fn sentence(&self, before: &Token, action: &Move) -> String {
        format!("{action:?} from {}", before.at)
    }

    fn table(&self, token: &Token) -> String {
        format!("{token:?}")
    }

    fn chart(&self, states: &[Token], actions: &[Move]) -> Chart {
        let mut chart = Chart::new(vec!["token".into()], actions.len());
        for (row, (before, action)) in states.iter().zip(actions).enumerate() {
            chart.mark(At { lane: 0, row }, self.sentence(before, action));
        }
        chart
    }
}
