//! The allocator.

// Batches come and go by the megabyte, allocated on one thread and freed on another. This allocator keeps what was
// freed for the next batch without keeping it for each thread: `docs/decisions.md` has what was measured. How it is set
// up stands in `.cargo/config.toml`, since it reads that before `main`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
