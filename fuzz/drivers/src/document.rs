//! A document before strangers who say anything, and a bystander who works on meanwhile.

mod strangers;

use collab_engine::id::ElementId;
use collab_engine::op::Edit;
use collab_engine::protocol::client::{Input, Status};
use collab_engine::protocol::limits::Limits;
use collab_engine::world::Preset;

use crate::bystander::Bystander;
use crate::choices::Choices;
use crate::stage::Stage;
use strangers::Strangers;
pub(crate) use strangers::misspelt;

/// Steps that the bytes may choose; more would only make an input slow.
const STEPS_MAX: usize = 150;
/// How long a document may take to come to rest when nobody disturbs it.
const HEALING_MAX: usize = 300;

/// The presets of the world, and a document that is soon full.
pub(crate) fn limits(choices: &mut Choices<'_>) -> Limits {
    let kind = choices.below(Preset::ALL.len() + 1);
    let small = Limits {
        op_count_max: 8,
        batch_edits_max: 3,
        document_elements_max: 30,
        lamport_jump_max: 16,
        inflight_max: 3,
        message_bytes_max: 700,
        ..Limits::default()
    };
    Preset::ALL.get(kind).map_or(small, |preset| preset.limits())
}

pub(crate) fn document(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut scene = Scene::new(limits(&mut choices));
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        scene.anything(&mut choices);
    }
    scene.come_to_rest();
}

/// Lets the bystander and the server do what is left to do, until both are at rest.
pub(crate) fn settle(stage: &mut Stage, bystander: &mut Bystander) {
    for _ in 0..HEALING_MAX {
        bystander.connect(stage);
        stage.sync();
        bystander.fetch(stage);
        while bystander.hear(stage) {}
        let is_done = bystander.session.is_some_and(|session| stage.is_caught_up(session));
        if is_done && bystander.state.pending().len() == 0 && *bystander.state.status() == Status::Live {
            return assert_eq!(bystander.state.document(), &stage.content().document, "converged");
        }
    }
    panic!("it does not come to rest: {:?}", bystander.state);
}

struct Scene {
    stage: Stage,
    strangers: Strangers,
    bystander: Bystander,
}

impl Scene {
    /// The bystander has joined, and its first edit is durable: its name is its own.
    fn new(limits: Limits) -> Self {
        let mut stage = Stage::new(limits);
        let mut bystander = Bystander::new(&stage.doc, "bystander");
        bystander.connect(&mut stage);
        bystander.act(&mut stage, Input::Insert { at: 0, text: "b".to_owned() });
        settle(&mut stage, &mut bystander);
        Self { stage, strangers: Strangers::default(), bystander }
    }

    fn anything(&mut self, choices: &mut Choices<'_>) {
        let Self { stage, strangers, bystander } = self;
        match choices.below(24) {
            0..=8 => strangers.say(stage, choices),
            9 => strangers.come(stage),
            10 => strangers.go(stage, choices),
            11 => strangers.listen(stage, choices),
            12..=14 => edit(stage, bystander, choices),
            15 => bystander.connect(stage),
            16 | 17 => {
                bystander.fetch(stage);
                bystander.hear(stage);
            }
            18 => {
                bystander.fetch(stage);
                while bystander.hear(stage) {}
            }
            19 => stage.sync(),
            20 => bystander.lose(stage, None),
            21 => stage.truncate(),
            22 => stage.append_foreign(),
            _ => match choices.below(4) {
                0 => stage.fail(choices.below(3)),
                1 => bystander.reload(stage),
                _ => stage.crash(choices.below(4)),
            },
        }
        assert!(!bystander.has_ended(), "a stranger has ended it: {:?}", bystander.state.status());
    }

    fn come_to_rest(mut self) {
        settle(&mut self.stage, &mut self.bystander);
        self.strangers.listen_all(&mut self.stage);
        self.stage.crash(0);
        settle(&mut self.stage, &mut self.bystander);
    }
}

/// The bystander's application does something.
pub(crate) fn edit(stage: &mut Stage, bystander: &mut Bystander, choices: &mut Choices<'_>) {
    let len = bystander.state.document().rga().len();
    let input = match choices.below(10) {
        0..=3 => {
            Input::Insert { at: choices.below(len + 1), text: (*choices.pick(&["x", "yz", "ä€𝄞"])).to_owned() }
        }
        4 | 5 => Input::Delete { at: choices.below(len + 1), len: 1 + choices.below(3) },
        6 => Input::Sync { nonce: choices.below(3) as u64 },
        7 => Input::Insert { at: len + choices.below(2), text: choices.pick(&["", "end"]).to_string() },
        _ => Input::Edit(anchored(bystander, choices)),
    };
    bystander.act(stage, input);
}

/// An edit on ids, which may or may not be one that the replica can make.
fn anchored(bystander: &Bystander, choices: &mut Choices<'_>) -> Edit {
    let document = bystander.state.document();
    let runs = document.rga().runs();
    let run = runs.get(choices.below(runs.len())).map(|run| run.id.clone());
    let distance = choices.below(3) as u64;
    let id = run.and_then(|first| first.checked_add(distance)).unwrap_or_else(ElementId::root);
    if choices.one_in(3) {
        return Edit::Delete { id, len: choices.below(4) as u32 };
    }
    let own = &bystander.state.identity().client;
    let lamport = document.highest().0 + choices.below(3) as u64;
    Edit::Insert { parent: id, id: ElementId::new(lamport, own), text: (*choices.pick(&["a", "", "bc"])).into() }
}
