//! Groups that are written in several pieces.

use super::*;

/// Scenario: of a group, with payloads that are smaller and larger than a piece, the disk takes the first bytes only, however
/// many; then it has room, the group comes again, and the power is cut.
/// Guarantees: the group is refused as a whole, and nothing of it is read; when it was appended, all of it is.
#[test]
fn the_disk_takes_some_of_them() {
    let payload = |(nth, bytes): (u8, usize)| Bytes::from(vec![nth; bytes]);
    let group: Vec<Bytes> = (b'a'..).zip([10, 400, 20, 290, 301, 900]).map(payload).collect();
    let bytes = group.iter().map(|it| 24 + it.len() as u64).sum::<u64>();
    for room in 0..bytes {
        let (simulated, disk) = disk(room);
        let mut log = Log::open(disk.clone(), options(1 << 20, 1 << 16)).unwrap();
        append(&mut log, &["one".into()]);
        let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
        simulated.set_bytes_max(Some(log.bytes() + room));
        assert_eq!(append(&mut log, &group), (vec![], Some(AppendError::Full)), "{room}");
        assert_eq!(rest(&mut reader).len(), 1, "{room}");
        simulated.set_bytes_max(None);
        assert_eq!(append(&mut log, &group), ((2..8).collect(), None), "{room}");
        drop(log);
        simulated.restart();
        let mut reader = Reader::open(disk, Some(1)).unwrap().unwrap();
        let read: Vec<Bytes> = rest(&mut reader)
            .into_iter()
            .map(|it| match it {
                Entry::Frame { payload, .. } => payload,
                Entry::Lost { .. } => panic!("{room}: {it:?}"),
            })
            .collect();
        assert_eq!(read, group, "{room}");
    }
}
