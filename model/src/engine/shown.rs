//! A model as stateright's web explorer should show it: actions are sentences, states are tables, paths are charts.

use std::fmt;
use std::sync::Arc;

use stateright::{Expectation, Model, Path, Property};

use super::Explorable;

/// A model in words.
#[derive(Clone)]
pub struct Explorer<M: Explorable> {
    model: M,
    properties: Arc<Vec<Property<M>>>,
}

/// A state, shown as a table.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shown<S> {
    state: S,
    table: String,
}

/// An action, shown as a sentence.
#[derive(Clone, PartialEq)]
pub struct Told<A> {
    action: A,
    sentence: String,
}

impl<S: fmt::Debug> fmt::Debug for Shown<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.table)?;
        self.state.fmt(f)
    }
}

impl<A> fmt::Debug for Told<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// The properties that are shown: stateright takes functions, not closures, so there is one for each place.
const PLACES: usize = 32;

impl<M: Explorable> Explorer<M> {
    /// Shows a model.
    pub fn new(model: M) -> Self {
        let properties = model.properties();
        assert!(properties.len() <= PLACES, "there are more properties than places to show them");
        Self { model, properties: Arc::new(properties) }
    }

    fn show(&self, state: M::State) -> Shown<M::State> {
        Shown { table: self.model.table(&state), state }
    }

    fn holds<const PLACE: usize>(explorer: &Self, shown: &Shown<M::State>) -> bool {
        (explorer.properties[PLACE].condition)(&explorer.model, &shown.state)
    }
}

/// Whether a property holds in a state.
type Condition<M> = fn(&Explorer<M>, &Shown<<M as Model>::State>) -> bool;

/// An array of the functions of the places.
macro_rules! places {
    ($($place:literal)*) => { [$(Self::holds::<$place> as Condition<M>),*] };
}

impl<M: Explorable> Model for Explorer<M> {
    type State = Shown<M::State>;
    type Action = Told<M::Action>;

    fn init_states(&self) -> Vec<Self::State> {
        self.model.init_states().into_iter().map(|state| self.show(state)).collect()
    }

    fn actions(&self, shown: &Self::State, actions: &mut Vec<Self::Action>) {
        let told = |action| Told { sentence: self.model.sentence(&shown.state, &action), action };
        actions.extend(self.model.enabled(&shown.state).into_iter().map(told));
    }

    fn next_state(&self, shown: &Self::State, told: Self::Action) -> Option<Self::State> {
        self.model.next_state(&shown.state, told.action).map(|state| self.show(state))
    }

    fn format_step(&self, shown: &Self::State, told: Self::Action) -> Option<String> {
        self.next_state(shown, told).map(|next| next.table)
    }

    fn as_svg(&self, path: Path<Self::State, Self::Action>) -> Option<String> {
        let (mut states, mut actions) = (Vec::new(), Vec::new());
        for (shown, told) in path.into_vec() {
            states.push(shown.state);
            actions.extend(told.map(|told| told.action));
        }
        Some(self.model.chart(&states, &actions).to_svg())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let places: [_; PLACES] =
            places!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        let shown = |(property, condition): (&Property<M>, Condition<M>)| match property.expectation {
            Expectation::Sometimes => Property::sometimes(property.name, condition),
            Expectation::Always | Expectation::Eventually => Property::always(property.name, condition),
        };
        self.properties.iter().zip(places).map(shown).collect()
    }
}
