//! What goes wrong in one life, and when.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

/// A small generator of numbers (SplitMix64): the same seed gives the same ones on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Spreads a number over all bits.
pub fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// How often things go wrong, in percent of the places where they can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Waits, up to twenty seconds.
    pub slow: u64,
    /// A sink fails and may be tried again.
    pub retry: u64,
    /// A sink says stop.
    pub stop: u64,
    /// A sink panics.
    pub panic: u64,
}

impl Faults {
    pub fn none() -> Self {
        Self::default()
    }
}

/// One life's misfortune.
pub struct Chaos {
    inner: Mutex<Inner>,
    pub faults: Faults,
    crash: Notify,
}

struct Inner {
    random: Random,
    ticks: u64,
    crash_after: Option<u64>,
}

impl Chaos {
    /// Crashes after so many ticks, if at all.
    pub fn new(seed: u64, crash_after: Option<u64>, faults: Faults) -> Self {
        let inner = Inner { random: Random::new(seed), ticks: 0, crash_after };
        Self { inner: Mutex::new(inner), faults, crash: Notify::new() }
    }

    /// One poll or effect more. `false`: the plug is out, nothing happens any more.
    pub fn tick(&self) -> bool {
        let mut inner = self.inner.lock().unwrap();
        if inner.crash_after.is_some_and(|it| inner.ticks >= it) {
            self.crash.notify_one();
            return false;
        }
        inner.ticks += 1;
        true
    }

    pub fn ticks(&self) -> u64 {
        self.inner.lock().unwrap().ticks
    }

    /// Returns when the plug is out.
    pub async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// A place between two effects: time may pass here, and it may be the last.
    pub async fn point(&self) {
        if self.random(|it| it.chance(30)) {
            tokio::task::yield_now().await;
        }
        if self.random(|it| it.chance(self.faults.slow)) {
            let millis = self.random(|it| 1 + it.below(20_000));
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        if !self.tick() {
            std::future::pending::<()>().await;
        }
    }

    pub fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.inner.lock().unwrap().random)
    }
}
