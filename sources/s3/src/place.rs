//! What `path` says.

use std::path::PathBuf;

use forebay_api::Wrong;
use percent_encoding::percent_decode_str;

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below a directory.
    Directory(PathBuf),
    /// In a bucket.
    Bucket {
        /// Its name.
        name: String,
        /// What all keys begin with; empty, or with a `/` at its end.
        prefix: String,
    },
}

impl Place {
    /// Reads a path or a URL.
    pub fn parse(path: &str) -> Result<Self, Wrong> {
        match path.split_once("://") {
            None if path.is_empty() => Err(Wrong::new("path", "`path` is empty").hint("`.` is the working directory")),
            None => Ok(Self::Directory(PathBuf::from(path))),
            Some(("file", path)) if path.starts_with('/') => {
                let decoded = percent_decode_str(path).decode_utf8();
                let decoded = decoded.map_err(|_| Wrong::new("path", format!("`file://{path}` is not UTF-8")))?;
                Ok(Self::Directory(PathBuf::from(decoded.as_ref())))
            }
            Some(("file", _)) => Err(Wrong::new("path", format!("`{path}` names a host"))
                .hint("a `file://` URL has three slashes before the path: `file:///var/log`")),
            Some(("s3", rest)) => Self::bucket(path, rest),
            Some((scheme, _)) => Err(Wrong::new("path", format!("objects cannot be read by `{scheme}`"))
                .hint("give a bucket, as `s3://bucket/prefix`, or a directory, as a path or as a `file://` URL")),
        }
    }

    fn bucket(path: &str, rest: &str) -> Result<Self, Wrong> {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Old buckets have names that new ones may not have: capital letters, underscores, 255 characters.
        let fits = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
        if !(3..=255).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(Wrong::new("path", format!("`{name}` in `{path}` is not the name of a bucket"))
                .hint("a name has 3 to 63 of the characters a-z, 0-9, `.` and `-`: `s3://bucket/prefix`"));
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::Bucket { name: name.to_owned(), prefix })
    }
}
