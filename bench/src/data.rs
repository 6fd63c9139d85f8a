//! What goes in: made once, kept under the target directory.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use source_demo::{Column, Traffic, realtime};

/// Canopy's list: the 43 fields of 2022 and the two of continuous deployment, without `s-ip`.
pub const FIELDS: usize = 45;
/// Rows of an object: five minutes of a site with thirty requests a second.
const OBJECT_ROWS: u64 = 9_000;

/// The objects of a data set.
pub struct Objects {
    pub directory: PathBuf,
    pub rows: u64,
    /// Bytes of the lines, before compression.
    pub bytes: u64,
}

/// The names of the columns, in order.
pub fn columns() -> Vec<&'static str> {
    let fields = forebay_codec::cloudfront::REALTIME_FIELDS.iter().copied();
    fields.filter(|it| *it != "s-ip").take(FIELDS).collect()
}

/// Gzip objects with so many lines in all, unlike each other, as CloudFront would write them within some hours.
pub fn realtime_objects(rows: u64) -> Result<Objects, Box<dyn Error>> {
    let directory = home()?.join(format!("realtime-{rows}"));
    let ready = directory.with_extension("ready");
    if let Ok(bytes) = fs::read_to_string(&ready) {
        return Ok(Objects { directory, rows, bytes: bytes.trim().parse()? });
    }
    fs::create_dir_all(&directory)?;
    let (mut bytes, mut number, mut nth) = (0, 0, 0);
    let mut encoder = object();
    let mut written = Ok(());
    realtime_lines(rows, |line| {
        bytes += line.len() as u64;
        nth += 1;
        let mut write = || -> Result<(), Box<dyn Error>> {
            encoder.write_all(line.as_bytes())?;
            if nth % OBJECT_ROWS == 0 || nth == rows {
                let whole = std::mem::replace(&mut encoder, object()).finish()?;
                fs::write(directory.join(format!("{number:05}.gz")), whole)?;
                number += 1;
            }
            Ok(())
        };
        if written.is_ok() {
            written = write();
        }
    });
    written?;
    fs::write(ready, bytes.to_string())?;
    Ok(Objects { directory, rows, bytes })
}

fn object() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::new(6))
}

/// So many lines, each with its end.
pub fn realtime_lines(rows: u64, mut each: impl FnMut(&str)) {
    let columns: Vec<Column> =
        columns().into_iter().map(|it| realtime(it).expect("the demo knows the field")).collect();
    let traffic = Traffic { seed: 7, start_ms: 1_793_491_200_000, spacing_ms: 30 };
    let mut line = String::new();
    for row in 1..=rows {
        let request = traffic.request(0, row);
        line.clear();
        for (nth, column) in columns.iter().enumerate() {
            if nth > 0 {
                line.push('\t');
            }
            column(&request, &mut line);
        }
        line.push('\n');
        each(&line);
    }
}

/// Where everything lies that benchmarks make.
pub fn home() -> Result<PathBuf, Box<dyn Error>> {
    let target = std::env::current_exe()?;
    let target = target.ancestors().nth(2).ok_or("the program is not in a target directory")?;
    let home = target.join("bench");
    fs::create_dir_all(&home)?;
    Ok(home)
}

/// An empty directory of this name.
pub fn emptied(directory: &Path) -> Result<(), Box<dyn Error>> {
    if directory.try_exists()? {
        fs::remove_dir_all(directory)?;
    }
    Ok(fs::create_dir_all(directory)?)
}
