//! The machine that a simulated server runs on: no threads, a clock that is set, random bits of the seed.
//!
//! What blocks runs in a task, after a while that the seed decides, and then in one piece: a thread would finish at a
//! moment of its own.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use collab_engine::server::{Boxed, Host};
use fastrand::Rng;
use tokio::time::{Sleep, sleep};

use crate::world::{World, lock};

/// A machine.
#[derive(Debug)]
pub struct SimHost {
    world: World,
    random: Mutex<Rng>,
    latency_max_ms: u64,
}

impl SimHost {
    /// The machine of a server's `life`; its disk takes up to `latency_max_ms` for what is asked of it.
    pub fn new(world: &World, life: u64, latency_max_ms: u64) -> Self {
        let random = Mutex::new(world.random(&format!("host {life}")));
        Self { world: world.clone(), random, latency_max_ms }
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(lock(&self.random).u64(0..=self.latency_max_ms))
    }
}

impl Host for SimHost {
    fn now_ms(&self) -> u64 {
        self.world.wall_ms()
    }

    fn random(&self, bits: &mut [u8]) -> Result<(), getrandom::Error> {
        lock(&self.random).fill(bits);
        Ok(())
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        let latency = self.latency();
        tokio::spawn(async move {
            sleep(latency).await;
            work();
        });
    }

    fn dedicate(&self, _: &str, task: Boxed<()>) -> io::Result<Boxed<()>> {
        let random = lock(&self.random).fork();
        let slow = Slow { task, random, latency_max_ms: self.latency_max_ms, pause: None };
        let running = tokio::spawn(slow);
        Ok(Box::pin(async move {
            // A panic is reported where it happens.
            let _ = running.await;
        }))
    }

    fn pause(&self, time: Duration) -> Boxed<()> {
        Box::pin(sleep(time))
    }

    /// Who goes first is decided by how long each takes here.
    fn give_way(&self) {}
}

/// A task that takes its time before it does anything.
struct Slow {
    task: Boxed<()>,
    random: Rng,
    latency_max_ms: u64,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Slow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let pause = this.pause.get_or_insert_with(|| {
            let latency = this.random.u64(0..=this.latency_max_ms);
            Box::pin(sleep(Duration::from_millis(latency)))
        });
        ready!(pause.as_mut().poll(cx));
        this.pause = None;
        this.task.as_mut().poll(cx)
    }
}
