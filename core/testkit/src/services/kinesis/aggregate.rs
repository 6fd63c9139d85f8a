//! Many records in one, as the Kinesis Producer Library makes them.

use super::hash::md5;

/// What an aggregated record begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Joins records, each with its partition key and perhaps an explicit hash key (a decimal number), into the data of one
/// record, in the Kinesis Producer Library's format: four bytes, a protobuf message with tables of the keys and with the
/// records, and the MD5 of the message. (`aggregation-format.md` in the repository awslabs/amazon-kinesis-producer.)
///
/// The service takes the whole for one record. It belongs to the partition key that it is put under.
pub fn aggregate(records: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut keys: Vec<&str> = Vec::new();
    let mut hashes: Vec<&str> = Vec::new();
    let mut entries = Vec::new();
    for (key, hash, data) in records {
        let mut entry = Vec::new();
        varint_field(&mut entry, 1, index_of(&mut keys, key));
        if let Some(hash) = hash {
            varint_field(&mut entry, 2, index_of(&mut hashes, hash));
        }
        bytes_field(&mut entry, 3, data);
        bytes_field(&mut entries, 3, &entry);
    }
    let mut message = Vec::new();
    for key in keys {
        bytes_field(&mut message, 1, key.as_bytes());
    }
    for hash in hashes {
        bytes_field(&mut message, 2, hash.as_bytes());
    }
    message.extend_from_slice(&entries);
    [&MAGIC[..], &message, &md5(&message)].concat()
}

/// Where a text stands in a table; it is added if it does not.
fn index_of<'a>(table: &mut Vec<&'a str>, text: &'a str) -> u64 {
    let at = table.iter().position(|it| *it == text).unwrap_or_else(|| {
        table.push(text);
        table.len() - 1
    });
    at as u64
}

fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    const LENGTH_DELIMITED: u64 = 2;
    varint(out, field << 3 | LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
