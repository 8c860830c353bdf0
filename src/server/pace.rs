//! How fast something may come. The buckets are those of `governor`; here is what is asked of them.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// The clock by which the runtime's timers go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// So many in a second, and as many at once after a second without any.
pub(super) fn quota(per_second: u32) -> Option<Quota> {
    NonZeroU32::new(per_second).map(Quota::per_second)
}

/// One bucket.
#[derive(Debug)]
pub(super) struct Pace<C: Clock = RuntimeClock> {
    /// `None`: any number.
    limiter: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    clock: C,
}

impl Pace {
    /// At most so many in a second; 0 is any number.
    pub(super) fn per_second(max: u32) -> Self {
        Self::with_clock(max, RuntimeClock)
    }
}

impl<C: Clock + Clone> Pace<C> {
    fn with_clock(max: u32, clock: C) -> Self {
        let limiter = quota(max).map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()));
        Self { limiter, clock }
    }

    /// Takes `count`, which is not above what a second brings.
    ///
    /// # Errors
    /// How long to wait until they may be had; nothing was taken.
    pub(super) fn take(&self, count: u32) -> Result<(), Duration> {
        let (Some(limiter), Some(count)) = (&self.limiter, NonZeroU32::new(count)) else { return Ok(()) };
        match limiter.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.clock.now())),
            // More than ever fits, against all bounds: a second empties the bucket.
            Err(_) => Err(Duration::from_secs(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_seconds_worth_comes_at_once_and_then_so_many_per_second() {
        let clock = FakeRelativeClock::default();
        let pace = Pace::with_clock(4, clock.clone());
        assert_eq!(pace.take(4), Ok(()));
        assert_eq!(pace.take(1), Err(SECOND / 4));
        assert_eq!(pace.take(3), Err(SECOND * 3 / 4));
        clock.advance(SECOND / 4);
        assert_eq!(pace.take(2), Err(SECOND / 4));
        assert_eq!(pace.take(1), Ok(()));
        assert_eq!(pace.take(1), Err(SECOND / 4));
        clock.advance(SECOND * 100);
        assert_eq!(pace.take(4), Ok(()));
        assert_eq!(pace.take(1), Err(SECOND / 4), "what was not used is not saved up");
    }

    #[test]
    fn zero_is_without_end() {
        let pace = Pace::with_clock(0, FakeRelativeClock::default());
        assert!((0..1000).all(|_| pace.take(u32::MAX).is_ok()));
    }
}
