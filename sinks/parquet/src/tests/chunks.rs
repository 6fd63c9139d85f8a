//! How rows wait.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use forebay_testkit::columns;

use crate::chunks::{CHUNK_ROWS, Chunks};

fn rows(count: i64) -> RecordBatch {
    let texts = || (0..count).map(|it| Some(format!("a text of some length, {it}")));
    columns([
        ("number", Arc::new(Int64Array::from_iter_values(0..count)) as ArrayRef),
        ("text", Arc::new(texts().collect::<StringArray>())),
        ("view", Arc::new(texts().collect::<StringViewArray>())),
    ])
}

/// Scenario: rows come in pieces of one size, from a single row to many chunks.
/// Guarantees: all chunks but the last are full, and the rows are those that came, in their order.
#[test]
fn chunks_are_full() {
    let all = rows(20_000);
    for size in [1, 7, 250, CHUNK_ROWS - 1, CHUNK_ROWS, 20_000] {
        let mut chunks = Chunks::new(all.schema(), CHUNK_ROWS);
        let mut found = Vec::new();
        for start in (0..all.num_rows()).step_by(size) {
            found.extend(chunks.push(all.slice(start, size.min(all.num_rows() - start))).unwrap());
        }
        found.extend(chunks.rest().unwrap());
        assert!(chunks.rest().unwrap().is_none());
        let counts: Vec<usize> = found.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(counts, [CHUNK_ROWS, CHUNK_ROWS, 20_000 - 2 * CHUNK_ROWS], "{size}");
        let mut start = 0;
        for chunk in found {
            assert!(chunk == all.slice(start, chunk.num_rows()), "{size}");
            start += chunk.num_rows();
        }
    }
}

/// Scenario: nearly a chunk waits, which came as single rows: as slices of one large batch, and as small batches.
/// Guarantees: what waits holds little more memory than its rows need, in few pieces.
#[test]
fn what_waits_is_small() {
    let all = rows(CHUNK_ROWS as i64 - 1);
    for copied in [false, true] {
        let mut chunks = Chunks::new(all.schema(), CHUNK_ROWS);
        for row in 0..all.num_rows() {
            let piece = if copied { rows(1) } else { all.slice(row, 1) };
            assert!(chunks.push(piece).unwrap().is_empty());
            assert!(chunks.pieces().len() <= 48, "{} pieces", chunks.pieces().len());
            let held: usize = chunks.pieces().iter().map(RecordBatch::get_array_memory_size).sum();
            // A piece of one row has some hundreds of bytes of its own.
            assert!(held <= 48 * 1024 + 300 * (row + 1), "{held} bytes for {} rows", row + 1);
        }
    }
}
