//! What is told at the end.

use expect_test::expect;

use crate::bill::Bill;
use crate::pack::{Packer, Record};

fn told(bytes_max: Option<usize>, length: usize, rows: usize, failed: usize) -> String {
    let bill = Bill::default();
    let mut packer = Packer::new(bytes_max);
    (0..rows).for_each(|_| packer.add(&vec![b'x'; length]));
    packer.finish();
    loop {
        let records: Vec<Record> = packer.request();
        if records.is_empty() {
            break;
        }
        records.iter().for_each(|it| bill.add(it));
    }
    bill.add_failed(failed);
    format!("{}\n", bill.told("events").unwrap_or_default())
}

/// Scenario: small rows apart and packed, rows that fill their steps, and nothing.
/// Guarantees: bytes are billed by record in steps of 5 KiB, and the saving is told, or that there could be one.
#[test]
fn told_at_the_end() {
    let found = [
        told(None, 300, 10_000, 0),
        told(Some(102_400), 300, 10_000, 27),
        told(None, 5120, 3, 0),
        told(None, 5121, 3, 0),
        told(None, 300, 0, 0),
    ];
    expect![[r#"
        sent 10000 rows to `events` in 10000 records, 2.86 MiB billed as 48.8 MiB: `pack` would make it cheaper
        sent 10000 rows to `events` in 30 records, 2.86 MiB billed as 2.87 MiB, 46.0 MiB less than in a record each; 27 records had to be sent again
        sent 3 rows to `events` in 3 records, 15.0 KiB billed as 15.0 KiB
        sent 3 rows to `events` in 3 records, 15.0 KiB billed as 30.0 KiB

    "#]].assert_eq(&found.concat());
}
