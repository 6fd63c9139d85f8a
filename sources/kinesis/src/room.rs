//! How much may be in memory before it is asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A number of bytes that all shards share.
///
/// Who asks for records takes as much as the answer may hold. When it has come, it counts for what it is: what is over goes
/// back, and what is missing is owed, so that nobody takes anything before that is there again. Nobody waits with hands full.
#[derive(Clone, Debug)]
pub struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: i64,
    /// Less than nothing: so much is owed.
    left: Mutex<i64>,
    more: Notify,
    /// First come, first served.
    turn: tokio::sync::Mutex<()>,
}

/// A part of it, which goes back when this is let go.
#[derive(Debug)]
pub struct Permit {
    room: Room,
    bytes: i64,
}

impl Room {
    pub fn new(bytes: u64) -> Self {
        let all = to_signed(bytes);
        let (left, more, turn) = (Mutex::new(all), Notify::new(), tokio::sync::Mutex::new(()));
        Self(Arc::new(Shared { all, left, more, turn }))
    }

    /// Waits for so much, or for all of it if that is less.
    pub async fn take(&self, bytes: u64) -> Permit {
        let _turn = self.0.turn.lock().await;
        loop {
            if let Some(permit) = self.take_now(bytes) {
                return permit;
            }
            self.0.more.notified().await;
        }
    }

    /// As [`Room::take`], if nobody need wait for it.
    pub fn try_take(&self, bytes: u64) -> Option<Permit> {
        let _turn = self.0.turn.try_lock().ok()?;
        self.take_now(bytes)
    }

    fn take_now(&self, bytes: u64) -> Option<Permit> {
        let bytes = to_signed(bytes).min(self.0.all);
        let mut left = self.left();
        // For nothing nobody need wait.
        (bytes == 0 || *left >= bytes).then(|| {
            *left -= bytes;
            Permit { room: self.clone(), bytes }
        })
    }

    fn left(&self) -> MutexGuard<'_, i64> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: i64) {
        *self.left() += bytes;
        self.0.more.notify_one();
    }
}

impl Permit {
    /// It is so much, whatever was expected.
    pub fn resize(&mut self, bytes: usize) {
        let bytes = to_signed(bytes as u64);
        self.room.give_back(self.bytes - bytes);
        self.bytes = bytes;
    }

    /// Keeps `left`, and gives so much as another one. What both take together may be more than this had: then it is owed.
    pub fn split(&mut self, left: usize, bytes: usize) -> Self {
        self.resize(left + bytes);
        let bytes = to_signed(bytes as u64);
        self.bytes -= bytes;
        Self { room: self.room.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

fn to_signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
