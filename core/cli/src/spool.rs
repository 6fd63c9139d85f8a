//! `forebay spool`: what lies in the spool of a source, and mending it.

use std::process::ExitCode;

use forebay_spool::{DAMAGED, Directory, Inspection, Rewritten, SegmentInspection, inspect, repair};
use serde_json::{Value as Json, json};

use crate::arguments::{Spool, SpoolCommand};
use crate::terminal::{self, Failure};

/// Looks at a spool, or repairs it. The code is 1 if it is damaged and was only looked at.
pub fn spool(command: &SpoolCommand) -> Result<ExitCode, Failure> {
    match command {
        SpoolCommand::Inspect(it) => {
            let found = inspect(&directory(it)?).map_err(|error| cannot(it, "inspected", &error))?;
            let whole = found.segments.iter().all(SegmentInspection::is_whole);
            terminal::out(&if it.json { format!("{:#}\n", as_json(&found)) } else { text(&found) });
            Ok(ExitCode::from(u8::from(!whole)))
        }
        SpoolCommand::Repair(it) => {
            let done = repair(&directory(it)?).map_err(|error| cannot(it, "repaired", &error))?;
            terminal::out(&match (it.json, done.rewritten.as_slice()) {
                (true, segments) => {
                    let names: Json = segments.iter().map(|it| it.name.as_str()).collect();
                    let set_aside: Json = segments.iter().map(|it| it.set_aside.as_str()).collect();
                    format!("{}\n", json!({ "rewritten": names, "set_aside": set_aside }))
                }
                (false, []) => "nothing is damaged; a torn tail is cut off at the next start\n".to_owned(),
                (false, segments) => segments
                    .iter()
                    .map(|Rewritten { name, set_aside }| {
                        format!("{name}: written anew with its whole frames; as it was: {set_aside}\n")
                    })
                    .chain([format!(
                        "nothing reads what ends with `{DAMAGED}`: remove it when nobody needs it any more\n"
                    )])
                    .collect(),
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The directory, which must be there: opening one would make it.
fn directory(arguments: &Spool) -> Result<Directory, Failure> {
    let path = &arguments.directory;
    if !path.is_dir() {
        return Err(Failure::world(format!("there is no directory `{}`", path.display()))
            .hint("name the one that stands in the file, under `spool`"));
    }
    Directory::open(path).map_err(|error| cannot(arguments, "opened", &error))
}

fn cannot(arguments: &Spool, what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::world(format!("the spool `{}` could not be {what}", arguments.directory.display())).cause(error)
}

fn text(found: &Inspection) -> String {
    let mut text = segments(found);
    for (name, bytes) in &found.set_aside {
        text.push_str(&format!(
            "{name}: {bytes} bytes, set aside by a repair; nothing reads it, and it may be removed\n"
        ));
    }
    text
}

fn segments(found: &Inspection) -> String {
    if found.segments.is_empty() {
        return "no segments: nothing waits here\n".to_owned();
    }
    let mut text = format!("{:<24} {:>12} {:>8} {:>12}  frames from and to\n", "segment", "bytes", "frames", "payload");
    for it in &found.segments {
        let sequences = it.sequences.map_or_else(|| "-".to_owned(), |(first, last)| format!("{first} to {last}"));
        let SegmentInspection { name, bytes, frames, payload_bytes, .. } = it;
        text.push_str(&format!("{name:<24} {bytes:>12} {frames:>8} {payload_bytes:>12}  {sequences}\n"));
        if it.created_millis.is_none() {
            text.push_str("  its header is damaged\n");
        }
        for (from, to) in &it.damaged {
            text.push_str(&format!("  damaged: bytes {from} to {to}\n"));
        }
        if it.torn_bytes > 0 {
            text.push_str(&format!("  torn: the last {} bytes; the next start cuts them off\n", it.torn_bytes));
        }
    }
    text
}

fn as_json(found: &Inspection) -> Json {
    let segment = |it: &SegmentInspection| {
        json!({
            "name": it.name, "bytes": it.bytes, "created_millis": it.created_millis, "sequences": it.sequences,
            "frames": it.frames, "payload_bytes": it.payload_bytes, "damaged": it.damaged, "torn_bytes": it.torn_bytes,
        })
    };
    json!({
        "spool": found.spool.map(|it| format!("{it:016x}")),
        "segments": found.segments.iter().map(segment).collect::<Json>(),
        "set_aside": found.set_aside.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect::<Json>(),
    })
}
