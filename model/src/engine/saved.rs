//! A path in a file: which model, which bounds, which actions.

use serde::Deserialize;
use serde_json::Value;

use super::bounds::{Bounds, Which};
use super::{Explorable, follow};

/// A saved path. What `check --save` and `simulate --save` write, and `replay` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The model.
    pub model: Which,
    /// Its bounds.
    pub bounds: Bounds,
    /// The property that the last state violates, if it does.
    #[serde(default)]
    pub violates: Option<String>,
    /// What happens.
    pub actions: Vec<Value>,
}

impl Saved {
    /// Reads a saved path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut saved: Self = serde_json::from_str(text).map_err(|error| format!("this is no saved path: {error}"))?;
        saved.bounds.model = Some(saved.model);
        Ok(saved)
    }

    /// Steps through the path; `each` sees the number of steps done, the sentence of the last of them and the state.
    ///
    /// # Errors
    /// Which step is not an action of this model, or is not enabled.
    pub fn replay<M: Explorable>(
        &self,
        model: &M,
        mut each: impl FnMut(usize, Option<&str>, &M::State),
    ) -> Result<M::State, String> {
        let mut state = model.init_states().swap_remove(0);
        each(0, None, &state);
        for (index, action) in self.actions.iter().enumerate() {
            let step = index + 1;
            let action: M::Action = serde_json::from_value(action.clone())
                .map_err(|error| format!("step {step} is no action of this model: {error}"))?;
            if !model.enabled(&state).contains(&action) {
                let ended = model.violation(&state).map_or(String::new(), |(property, _)| {
                    format!(": {property} is violated already, and nothing follows on that")
                });
                return Err(format!("step {step}, {action:?}, is not enabled{ended}"));
            }
            let sentence = model.sentence(&state, &action);
            state = follow(model, &state, &action).ok_or_else(|| format!("step {step}, {action:?}, leads nowhere"))?;
            each(step, Some(&sentence), &state);
        }
        Ok(state)
    }
}
