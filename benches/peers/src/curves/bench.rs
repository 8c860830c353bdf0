//! Measures edits of documents that came to be in one way.

use std::hint::black_box;

use collab_engine::id::{ElementId, Lamport};
use collab_engine::op::{Edit, Op};

use super::start::{Numbers, Place, Start, Step, edits};
use crate::heap;
use crate::measure::cpu_seconds;
use crate::peer::{Ours, Peer, name_of};

/// Edits that are timed at once: many beside a look at the clock, few beside the time between two interruptions.
const ROUND: usize = 2_000;
/// A document is made anew before its edits are more than one in so many of its runs; a round is at most as small a share of
/// the visible characters.
const SHARE: usize = 10;
/// The fastest of at least so many rounds, and of at most so many as long as they take no longer, making documents included.
const ROUNDS: std::ops::Range<usize> = 5..40;
const SECONDS_MAX: f64 = 0.3;

/// A document and whoever follows it.
struct Pair<P: Peer> {
    author: P,
    reader: P,
    len: usize,
}

impl<P: Peer> Pair<P> {
    fn new(start: Start) -> Self {
        let mut pair = Self { author: P::new(0), reader: P::new(9), len: start.chars() };
        let mut messages = Vec::new();
        for step in start.steps(Numbers(1)) {
            pair.author.write_as(step.agent);
            if P::IS_SHARED {
                pair.author.edit_to_messages(&step.patch, &mut messages);
                messages.drain(..).for_each(|message| pair.reader.receive(&message));
            } else {
                pair.author.edit(&step.patch);
            }
        }
        pair
    }

    fn note(&mut self, steps: &[Step]) {
        self.len += steps.iter().map(|step| step.patch.inserted.len()).sum::<usize>();
        self.len -= steps.iter().map(|step| step.patch.deleted).sum::<usize>();
    }

    /// CPU seconds that the author takes; the reader is not told.
    fn local(&mut self, steps: &[Step]) -> f64 {
        self.author.write_as(0);
        self.note(steps);
        let begin = cpu_seconds();
        steps.iter().for_each(|step| self.author.edit(black_box(&step.patch)));
        cpu_seconds() - begin
    }

    /// CPU seconds that the reader takes.
    fn remote(&mut self, messages: &[P::Message]) -> f64 {
        let begin = cpu_seconds();
        messages.iter().for_each(|message| self.reader.receive(black_box(message)));
        cpu_seconds() - begin
    }

    /// Messages of one edit after the other.
    fn messages(&mut self, steps: &[Step]) -> Vec<P::Message> {
        let mut messages = Vec::with_capacity(steps.len());
        for step in steps {
            self.author.write_as(step.agent);
            self.author.edit_to_messages(&step.patch, &mut messages);
        }
        self.note(steps);
        messages
    }
}

/// Documents that are alike, and what is left to do with them.
pub struct Bench<P: Peer> {
    start: Start,
    numbers: Numbers,
    pairs: Vec<Pair<P>>,
    edits_left: usize,
    heap: usize,
    is_apart: bool,
}

impl<P: Peer> Bench<P> {
    pub fn new(start: Start) -> Self {
        Self { start, numbers: Numbers(2), pairs: Vec::new(), edits_left: 0, heap: 0, is_apart: false }
    }

    /// Edits of a round in one document.
    fn edits_each(&self) -> usize {
        ROUND.min(self.start.chars() / SHARE).max(1)
    }

    /// Documents with edits left for a round, so many that there are enough edits.
    fn prepare(&mut self) {
        let each = self.edits_each();
        if self.edits_left < each {
            self.pairs.clear();
            let before = heap::held();
            self.pairs.extend((0..ROUND.div_ceil(each)).map(|_| Pair::new(self.start)));
            self.heap = (heap::held() - before) / self.pairs.len();
            let unharmed = self.start.run_count() / SHARE;
            (self.edits_left, self.is_apart) = (unharmed.max(each), false);
        }
        self.edits_left -= each;
    }

    /// Nanoseconds an edit of the fastest round; `round` answers the CPU seconds of the edits in one document.
    fn fastest(&mut self, mut round: impl FnMut(&mut Pair<P>, usize, &mut Numbers) -> f64) -> f64 {
        let (begin, each) = (cpu_seconds(), self.edits_each());
        let mut fastest = f64::INFINITY;
        for count in 0..ROUNDS.end {
            if count >= ROUNDS.start && cpu_seconds() - begin > SECONDS_MAX {
                break;
            }
            self.prepare();
            let numbers = &mut self.numbers;
            let seconds: f64 = self.pairs.iter_mut().map(|pair| round(pair, each, numbers)).sum();
            fastest = fastest.min(seconds * 1e9 / (each * self.pairs.len()) as f64);
        }
        fastest
    }

    /// Nanoseconds an edit, made and applied.
    pub fn local(&mut self, place: Place) -> f64 {
        self.is_apart = true;
        self.fastest(|pair, each, numbers| pair.local(&edits(place, pair.len, each, 1, numbers)))
    }

    /// Nanoseconds an operation, read already, of whoever knew all before it.
    pub fn remote(&mut self, place: Place) -> f64 {
        let agents = self.start.agents();
        self.remote_of(|pair, each, numbers| {
            let steps = edits(place, pair.len, each, agents, numbers);
            pair.messages(&steps)
        })
    }

    fn remote_of(&mut self, mut messages: impl FnMut(&mut Pair<P>, usize, &mut Numbers) -> Vec<P::Message>) -> f64 {
        assert!(!self.is_apart, "readers cannot follow authors who went on alone");
        let nanoseconds = self.fastest(|pair, each, numbers| {
            let messages = messages(pair, each, numbers);
            pair.remote(&messages)
        });
        let are_equal = |pair: &Pair<P>| pair.author.text() == pair.reader.text();
        assert!(self.pairs.iter().all(are_equal), "{}: the reader's text is another", P::NAME);
        nanoseconds
    }

    /// Bytes that a new document holds for each of its runs, text included: mean of author and reader.
    pub fn heap_per_run(&self) -> f64 {
        let documents = 1 + usize::from(P::IS_SHARED);
        self.heap as f64 / (documents * self.start.run_count()) as f64
    }
}

impl Bench<Ours> {
    /// Nanoseconds an operation anywhere, read already, of agents who know nothing of each other's since the round began.
    pub fn remote_concurrent(&mut self) -> f64 {
        let agents = self.start.agents();
        self.remote_of(|pair, each, numbers| {
            let ops = concurrent(&pair.author, each, agents, numbers);
            ops.iter().for_each(|op| pair.author.receive(op));
            pair.len = pair.author.document().rga().len();
            ops
        })
    }
}

/// Insertions and deletions that build on the document as it is and on nothing that is new.
fn concurrent(known: &Ours, count: usize, agents: usize, numbers: &mut Numbers) -> Vec<Op> {
    let (rga, highest) = (known.document().rga(), known.document().highest().0);
    let mut minted = vec![0; agents];
    let op = |edit: usize| {
        let target = rga.id_at(numbers.below(rga.len())).expect("a character stands there");
        if edit % 2 == 1 {
            return Op::Edit(Edit::Delete { id: target, len: 1 });
        }
        let agent = numbers.below(agents);
        minted[agent] += 1;
        let id = ElementId { lamport: Lamport(highest + minted[agent]), replica: name_of(agent) };
        Op::Edit(Edit::Insert { parent: target, id, text: "x".into() })
    };
    (0..count).map(op).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Cola, Diamond, JumpRope};

    fn text_of(pair: &Pair<impl Peer>) -> String {
        pair.author.text()
    }

    /// All contestants make the same text of the same steps, and their readers follow.
    #[test]
    fn all_contestants_do_the_same() {
        let start = Start::Runs { chars: 800, run: 8, deleted: 800, agents: 3 };
        let steps = edits(Place::Anywhere, 800, 100, 3, &mut Numbers(2));
        fn after<P: Peer>(start: Start, steps: &[Step]) -> String {
            let mut pair = Pair::<P>::new(start);
            if P::IS_SHARED {
                let messages = pair.messages(steps);
                pair.remote(&messages);
                assert_eq!(pair.author.text(), pair.reader.text(), "{}", P::NAME);
            } else {
                pair.local(steps);
            }
            assert_eq!(pair.len, text_of(&pair).len());
            text_of(&pair)
        }
        let ours = after::<Ours>(start, &steps);
        assert!(ours.contains('x') && ours.len() == 800);
        assert_eq!(after::<Cola>(start, &steps), ours);
        assert_eq!(after::<Diamond>(start, &steps), ours);
        assert_eq!(after::<JumpRope>(start, &steps), ours);
    }

    #[test]
    fn concurrent_operations_build_on_nothing_new_and_do_not_wait() {
        let mut pair = Pair::<Ours>::new(Start::Runs { chars: 800, run: 8, deleted: 0, agents: 5 });
        let highest = pair.author.document().highest();
        let ops = concurrent(&pair.author, 200, 5, &mut Numbers(3));
        for op in &ops {
            match op {
                Op::Edit(Edit::Insert { parent, id, .. }) => assert!(parent.lamport <= highest && id.lamport > highest),
                Op::Edit(Edit::Delete { id, .. }) => assert!(id.lamport <= highest),
                _ => unreachable!("none else is made"),
            }
        }
        pair.remote(&ops);
        let reader = pair.reader.document();
        assert_eq!((reader.waiting_count(), reader.rga().element_count()), (0, 900));
    }

    #[test]
    fn documents_are_made_anew_before_their_edits_change_what_they_are() {
        let mut bench = Bench::<Ours>::new(Start::One { chars: 1_000 });
        bench.prepare();
        assert_eq!((bench.pairs.len(), bench.edits_each(), bench.edits_left), (20, 100, 0));
        bench.local(Place::Cursor);
        assert!(bench.pairs.iter().all(|pair| pair.len == 1_100));
        let mut bench = Bench::<Ours>::new(Start::Runs { chars: 100_000, run: 1, deleted: 0, agents: 1 });
        bench.prepare();
        assert_eq!((bench.pairs.len(), bench.edits_each(), bench.edits_left), (1, ROUND, 8_000));
        assert!(bench.heap_per_run() > 1.0);
    }
}
