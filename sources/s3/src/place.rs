//! What `path` says.

use std::path::PathBuf;

use forebay_api::Wrong;
use forebay_aws::Location;
use percent_encoding::percent_decode_str;

/// Reads a path, or a URL of a directory or of a bucket.
pub fn parse(path: &str) -> Result<Location, Wrong> {
    match path.strip_prefix("file://") {
        None => Location::parse(path),
        Some(path) if path.starts_with('/') => {
            let decoded = percent_decode_str(path).decode_utf8();
            let decoded = decoded.map_err(|_| Wrong::new("path", format!("`file://{path}` is not UTF-8")))?;
            Ok(Location::Directory(PathBuf::from(decoded.as_ref())))
        }
        Some(_) => Err(Wrong::new("path", format!("`{path}` names a host"))
            .hint("a `file://` URL has three slashes before the path: `file:///var/log`")),
    }
}
