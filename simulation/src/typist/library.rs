//! A person at the client library.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use collab_engine::client::{Client, ClientMessage, EditError, Editor, Event, ServerMessage, Stream, Tap};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use super::{Habit, Standing, Typist};
use crate::net::{Net, connect};
use crate::world::lock;

/// Most operations that are under way before the person waits.
const UNACKNOWLEDGED_MAX: usize = 30;

/// Sees every message.
struct Eye(Typist);

impl Tap for Eye {
    fn sent(&mut self, message: &ClientMessage) {
        if let ClientMessage::Hello(hello) = message {
            let mut client = lock(&self.0.shared.client);
            // A correct server gives nobody a reason to become somebody else.
            if client.as_ref().is_some_and(|client| *client != hello.client) {
                self.0.find(&format!("{client:?} became {}", hello.client));
            }
            *client = Some(hello.client.clone());
        }
    }

    fn received(&mut self, message: &ServerMessage) {
        lock(&self.0.shared.sight).see(message);
    }
}

/// Types until it is to rest; then tells where it stands, for ever.
pub(super) async fn run(typist: Typist, net: Net, mut random: Rng, habit: Habit) {
    let (index, bits) = (typist.index, Mutex::new(random.fork()));
    let built = Client::builder("ws://server/ws", typist.doc.as_str())
        .name_prefix(&format!("typist{index}-"))
        .connect_wait(Duration::from_secs(2))
        .silence_max(Duration::from_secs(4))
        .tap(Eye(typist.clone()))
        .random_with(move |bytes| {
            lock(&bits).fill(bytes);
            Ok(())
        })
        .connect_with(move |_, _| {
            let net = net.clone();
            Box::pin(async move { Ok(Box::new(connect(net, index).await?) as Box<dyn Stream>) })
        })
        .start();
    let client = match built {
        Ok(client) => client,
        Err(error) => return typist.find(&format!("no client: {error}")),
    };
    let Ok((_, mut events)) = client.subscribe().await else { return typist.find("the client ended") };
    let watched = typist.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Refused { op, code }) => watched.find(&format!("refused with {code}: {op:?}")),
                Ok(Event::Status(status)) => *lock(&watched.shared.status) = status,
                _ => {}
            }
        }
    });
    while typist.goes_on() {
        sleep(Duration::from_millis(random.u64(0..=habit.pause_max_ms))).await;
        if client.progress().unacknowledged >= UNACKNOWLEDGED_MAX {
            continue;
        }
        let mut hand = random.fork();
        let typed = client.with(move |editor| type_something(editor, &mut hand, habit)).await;
        match typed {
            Ok(Ok(made)) => _ = typist.shared.typed.fetch_add(made, Ordering::Relaxed),
            Ok(Err(error)) => typist.find(&format!("cannot edit: {error}")),
            Err(error) => typist.find(&format!("cannot edit: {error}")),
        }
    }
    loop {
        // While something is pending there is nothing to tell; and the end of the client is told as its status.
        let is_settled =
            timeout(Duration::from_millis(40), client.settled()).await.is_ok_and(|settled| settled.is_ok());
        if let Ok((text, last_seen)) = client.with(|editor| (editor.text(), editor.replica().last_seen())).await {
            *lock(&typist.shared.standing) = Some(Standing { is_settled, last_seen, text: Some(text) });
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Answers how many operations came of it.
fn type_something(editor: &mut Editor<'_>, random: &mut Rng, habit: Habit) -> Result<u64, EditError> {
    let (len, before) = (editor.len(), editor.replica().unacknowledged_count());
    if len > 20 && random.u8(0..4) == 0 {
        let count = random.usize(1..=len.min(6));
        editor.delete(random.usize(0..=len - count), count)?;
    } else {
        let letter = char::from(random.u8(b'a'..=b'z'));
        let text: String = std::iter::repeat_n(letter, random.usize(1..=habit.text_max)).collect();
        editor.insert(random.usize(0..=len), &text)?;
    }
    Ok((editor.replica().unacknowledged_count() - before) as u64)
}
