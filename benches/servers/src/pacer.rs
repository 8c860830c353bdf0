//! Tells writers when their operations are due.
//!
//! The timers of tokio are of milliseconds, more than what is measured; those of the kernel are not.

use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;

/// Operations that are due within this time are handed out at once.
const TICK_MIN: Duration = Duration::from_micros(100);

/// A timer that wakes within microseconds.
#[derive(Debug)]
pub struct Timer {
    /// No pipe, but read like one.
    descriptor: Receiver,
}

impl Timer {
    /// # Errors
    ///
    /// If the system grants none.
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { descriptor: Receiver::from_owned_fd_unchecked(descriptor)? })
    }

    /// Sleeps this long, or a little if it is less.
    ///
    /// # Errors
    ///
    /// If the timer cannot be set.
    pub async fn sleep(&self, length: Duration) -> std::io::Result<()> {
        let length = length.max(TICK_MIN);
        let once = Timespec { tv_sec: length.as_secs() as i64, tv_nsec: i64::from(length.subsec_nanos()) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: once };
        rustix::time::timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        loop {
            self.descriptor.readable().await?;
            match self.descriptor.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => return read.map(|_| ()),
            }
        }
    }
}
