//! What a commit that a crash cut short may have left visible.
//!
//! Such a delivery is made again from the same rows, and so writes the same names over what is there, unless the
//! layout was changed in between: then rows would be there twice, under old names and new. So a commit makes the
//! names that it is about to use durable first, and one that finds names of an earlier attempt removes those that
//! it does not use itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use forebay_api::DeliveryId;

use crate::disk::{DiskError, create_directories, sync_directory};

/// The file of names, in the staging directory of a delivery.
pub(crate) const FILE: &str = "names.tmp";

/// The same while it is written. A crash may leave it behind, and it says nothing then.
const UNFINISHED: &str = "names.unfinished.tmp";

/// Names of files relative to the table's directory, with `/`.
pub(crate) type Names = BTreeSet<String>;

/// The names that earlier attempts at this delivery may have used.
pub(crate) fn read(staging: &Path, id: &DeliveryId) -> Result<Names, DiskError> {
    let path = staging.join(FILE);
    match fs::read(&path) {
        // What is no name was not written here, and is passed over.
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.lines().filter(|it| is_name(it, id)).map(str::to_owned).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Names::new()),
        Err(error) => Err(DiskError::new("read", &path, error)),
    }
}

/// Makes the names durable. They take the place of those that are there at once: a crash never loses what an earlier
/// attempt has noted.
pub(crate) fn write(staging: &Path, names: &Names) -> Result<(), DiskError> {
    create_directories(staging)?;
    let unfinished = staging.join(UNFINISHED);
    let path = staging.join(FILE);
    let lines: String = names.iter().flat_map(|it| [it.as_str(), "\n"]).collect();
    File::create(&unfinished)
        .and_then(|mut file| {
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| DiskError::new("write", &unfinished, error))?;
    fs::rename(&unfinished, &path).map_err(|error| DiskError::new("give its name to", &path, error))?;
    sync_directory(staging)
}

/// Whether this is a name that the delivery can have given: only those are ever removed.
fn is_name(name: &str, id: &DeliveryId) -> bool {
    let mut levels: Vec<&str> = name.split('/').collect();
    let file = levels.pop().unwrap_or_default();
    let ordinal = file.strip_prefix(id.as_str()).and_then(|it| it.strip_prefix('-'));
    let ordinal = ordinal.and_then(|it| it.strip_suffix(".parquet"));
    ordinal.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
        && levels.iter().all(|it| it.contains('=') && !it.starts_with('.'))
}
