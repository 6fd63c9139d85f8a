//! How many files and connections the system lets this process open.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// So many are left to the rest of the process: files of spools and states, connections to sinks.
const RESERVED: usize = 256;

/// macOS allows no more where it says that it allows any number.
const OPEN_MAX: u64 = 10_240;

/// What connections may have of it, those of all servers of the process together: a process without descriptors cannot
/// open the files either that requests are kept in.
#[derive(Debug)]
pub(crate) struct Descriptors {
    connections_max: usize,
    connections: AtomicUsize,
}

/// That of one connection.
#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Descriptors>);

impl Descriptors {
    /// Those of this process. Its limit becomes as large as the system allows it to be: that it is usually 1024 is for
    /// programs that call `select`.
    pub(crate) fn of_process() -> Arc<Self> {
        static OF_PROCESS: LazyLock<Arc<Descriptors>> = LazyLock::new(|| Arc::new(Descriptors::of(raised())));
        OF_PROCESS.clone()
    }

    /// Where so many may be open.
    pub(crate) fn of(limit: usize) -> Self {
        Self { connections_max: limit - RESERVED.min(limit / 2), connections: AtomicUsize::new(0) }
    }

    /// How many connections there may be.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// One more, if there is one left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Descriptor> {
        let more = |it| if it < self.connections_max { Some(it + 1) } else { None };
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Descriptor(self.clone()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Raises the limit, and says what it is then.
fn raised() -> usize {
    let limit = || getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((RESERVED as u64, RESERVED as u64));
    let (soft, hard) = limit();
    let is_raised = |to: u64| to > soft && setrlimit(Resource::RLIMIT_NOFILE, to, hard).is_ok();
    if !is_raised(hard) {
        is_raised(hard.min(OPEN_MAX));
    }
    usize::try_from(limit().0).unwrap_or(usize::MAX)
}
