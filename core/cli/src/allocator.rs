//! The allocator, and how long it keeps what was freed.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

// Batches come and go by the megabyte on many threads, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long memory that was freed is kept for the next batch, in milliseconds.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// A second, which is the allocator's own choice, doubles what is resident: what one batch gave back, the next one of
/// another size cannot use. Ten milliseconds cost a few hundredths of the CPU time.
const PURGE_DELAY_MS: &str = "10";

/// Begins the process anew with [`PURGE_DELAY`], unless somebody has chosen. The allocator reads it before `main`, so
/// this is the only way that needs no unsafe code. It stays the same process to whoever waits for it.
pub fn choose_purge_delay() {
    if env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let mut again = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let error = again.args(arguments).env(PURGE_DELAY, PURGE_DELAY_MS).exec();
    // It works without, in more memory.
    tracing::debug!("the allocator keeps its own purge delay: {error}");
}
