//! Random walks, for configurations that are beyond exhaustion.

use super::Explorable;

/// A small generator, SplitMix64 (Steele, Lea and Flood, 2014): a seed gives the same walks everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of so many.
    pub fn below(&mut self, count: usize) -> usize {
        (self.roll() % count as u64) as usize
    }
}

/// How a walk ended.
#[derive(Clone, Debug)]
pub enum Walked<A> {
    /// Nothing was violated in so many steps.
    Sound(usize),
    /// The way to a violation.
    Violated(Vec<A>),
}

/// Walks at random, at most so many steps; any enabled action is as likely as any other.
pub fn walk<M: Explorable>(model: &M, dice: &mut Dice, steps_max: usize) -> Walked<M::Action> {
    let mut state = model.init_states().swap_remove(0);
    let mut taken = Vec::new();
    for _ in 0..steps_max {
        let mut actions = model.enabled(&state);
        if actions.is_empty() {
            break;
        }
        let action = actions.swap_remove(dice.below(actions.len()));
        let Some(next) = model.next_state(&state, action.clone()) else { continue };
        taken.push(action);
        state = next;
        if model.violation(&state).is_some() {
            return Walked::Violated(taken);
        }
    }
    Walked::Sound(taken.len())
}
