//! Paths of the model as conformance scenarios, for servers that nobody holds.
//!
//! Only what a runner can force by itself: every append is durable at once, what the server has to say it says before
//! anything else happens, and a connection breaks only while nothing of its client is under way. The paths take every
//! transition of what is left of the graph; the longest become files.

mod write;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use collab_engine::world::{Action, Config, World};

use crate::engine::cover::{Edge, cover};
use crate::engine::explicit::fingerprint;

/// A family of scenarios: the paths of one configuration.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Begins the names of its files.
    pub name: &'static str,
    /// Its bounds, as a command line of `collab-model`.
    pub bounds: &'static str,
    /// What happens in it, for the titles.
    pub what: &'static str,
    /// What a server must claim.
    profiles: &'static [&'static str],
    /// How many of the longest paths become files.
    files: usize,
}

const V2: &[&str] = &["v2"];
const V1: &[&str] = &["v1-strict"];

/// Every one.
pub const FAMILIES: &[Family] = &[
    family("model-breaks", "sync --breaks 1 --in-flight 0", "a connection that breaks", V2, 50),
    family("model-edits", "sync --ops 2 --edits ends --in-flight 0", "two edits of each client", V2, 30),
    family("model-three", "sync --clients 3 --edits typing --in-flight 0", "three clients", V2, 20),
    family("model-repeats", "sync --repeats 1 --edits typing --in-flight 0", "an operation sent twice", V2, 20),
    family("model-barriers", "sync --barriers 1 --edits typing --in-flight 0", "a barrier", V2, 20),
    family(
        "model-rekey",
        "sync --rekeys 1 --edits typing --in-flight 0",
        "a client that becomes a new instance",
        V2,
        40,
    ),
    family("model-reload", "sync --reloads 1 --edits typing --in-flight 0", "a client that begins again", V2, 30),
    family("model-v1", "sync --clients 0 --clients-v1 2 --breaks 1 --edits ends --in-flight 0", "version 1", V1, 40),
    family(
        "model-both",
        "sync --clients 1 --clients-v1 1 --breaks 1 --run-len 2 --in-flight 0",
        "clients of both versions, runs, and a connection that breaks",
        &["both"],
        50,
    ),
    family(
        "model-kill",
        "sync --crashes 1 --edits typing --in-flight 0",
        "a server that is killed",
        &["v2", "durable"],
        8,
    ),
];

const fn family(
    name: &'static str,
    bounds: &'static str,
    what: &'static str,
    profiles: &'static [&'static str],
    files: usize,
) -> Family {
    Family { name, bounds, what, profiles, files }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, which ends in `.json`.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// What may happen, if only the wire is there to force it.
fn moves(world: &World) -> Vec<Action> {
    let enabled = world.enabled();
    // What a server does by itself it does first: it syncs, speaks, and is started again.
    let is_first: [fn(&Action) -> bool; 4] = [
        |action| matches!(action, Action::Sync),
        |action| matches!(action, Action::Send(_)),
        |action| matches!(action, Action::Notice(_)),
        |action| matches!(action, Action::Restart),
    ];
    if let Some(first) = is_first.iter().find_map(|is_first| enabled.iter().find(|action| is_first(action))) {
        return vec![first.clone()];
    }
    let has_silence = |client: usize| {
        let own = world.links().filter(|link| link.client == client);
        own.into_iter().all(|link| link.up.is_empty())
    };
    enabled
        .into_iter()
        .filter(|action| match action {
            Action::Break(session) => world.link(*session).is_some_and(|link| link.up.is_empty()),
            Action::Rekey(client) | Action::Reload(client) => has_silence(*client),
            Action::Crash(_) => world.links().all(|link| link.up.is_empty()),
            _ => true,
        })
        .collect()
}

/// Paths that take every transition which the wire can force.
fn paths(config: &Arc<Config>) -> Option<Vec<Vec<Action>>> {
    let first = World::new(config);
    let mut known = HashMap::from([(fingerprint(&first), 0_u32)]);
    let mut queue = VecDeque::from([first]);
    let (mut edges, mut actions, mut from) = (Vec::new(), Vec::new(), 0_u32);
    while let Some(world) = queue.pop_front() {
        for action in moves(&world) {
            let mut after = world.clone();
            after.apply(&action);
            let next = known.len() as u32;
            let to = *known.entry(fingerprint(&after)).or_insert(next);
            if to == next {
                queue.push_back(after);
            }
            edges.push(Edge { from, to });
            actions.push(action);
        }
        from += 1;
    }
    let paths = cover(known.len(), &edges)?;
    let actions_of = |path: &Vec<u32>| path.iter().map(|number| actions[*number as usize].clone()).collect();
    Some(paths.iter().map(actions_of).collect())
}

/// How much of a graph paths meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// States.
    pub states: usize,
    /// Transitions.
    pub transitions: usize,
}

fn met(config: &Arc<Config>, paths: &[Vec<Action>]) -> Met {
    let (mut states, mut transitions) = (HashSet::new(), HashSet::new());
    for path in paths {
        let mut world = World::new(config);
        let mut from = fingerprint(&world);
        states.insert(from);
        for action in path {
            world.apply(action);
            transitions.insert((from, action));
            from = fingerprint(&world);
            states.insert(from);
        }
    }
    Met { states: states.len(), transitions: transitions.len() }
}

impl Family {
    /// Its paths, the longest first.
    fn paths(&self) -> Result<(Arc<Config>, Vec<Vec<Action>>), String> {
        let config = crate::engine::bounds::Bounds::parse(self.bounds)?.config();
        let config = Arc::new(Config { has_wire_names: true, ..config });
        let mut paths = paths(&config).ok_or("the graph has a cycle")?;
        // The sort is stable, and the paths come in an order of their own: the same ones every time.
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        Ok((config, paths))
    }

    /// What its files meet, and what there is.
    ///
    /// # Errors
    /// What is wrong with its bounds.
    pub fn met(&self) -> Result<[Met; 2], String> {
        let (config, paths) = self.paths()?;
        Ok([met(&config, &paths[..self.files.min(paths.len())]), met(&config, &paths)])
    }

    /// Its files.
    ///
    /// # Errors
    /// What is wrong with its bounds.
    pub fn files(&self) -> Result<Vec<File>, String> {
        let (config, mut paths) = self.paths()?;
        paths.truncate(self.files);
        let scenario = |(index, path): (usize, &Vec<Action>)| {
            let id = format!("{}-{:02}", self.name, index + 1);
            File { text: write::scenario(&id, self, &config, path), name: format!("{id}.json") }
        };
        Ok(paths.iter().enumerate().map(scenario).collect())
    }
}
