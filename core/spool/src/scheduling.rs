//! How the operating system treats the thread that writes.

/// The calling thread pushes no other one aside when it is woken (`SCHED_BATCH`, sched(7)). Where a processor is free it
/// runs at once. Where none is, those that take requests go on until none is left to take, and what they took is made durable
/// together: less CPU time for each request at full load, and the slowest answers come sooner.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    // The middle of all priorities is the usual niceness, 0.
    let usual = 50.try_into().map_or(ThreadPriority::Min, ThreadPriority::Crossplatform);
    if let Err(error) =
        thread_priority::set_thread_priority_and_policy(thread_priority::thread_native_id(), usual, policy)
    {
        tracing::debug!("the thread of the spool may be scheduled as any other: {error:?}");
    }
}

/// Other systems have nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() {}
