//! What a `path` says: a directory, or a place in a bucket.

use std::path::PathBuf;

use forebay_api::Wrong;

/// What would have worked.
const EXAMPLE: &str = "write a directory, such as \"./data\", or a place in a bucket: \"s3://bucket/prefix\"";

/// Where files are kept: in a directory, or in a bucket of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// Objects of a bucket.
    Bucket {
        /// Its name.
        name: String,
        /// What the keys of all objects begin with: nothing, or text that ends with `/`.
        prefix: String,
    },
}

impl Location {
    /// Reads a path: `./data`, `/var/data`, `s3://bucket`, `s3://bucket/prefix`. A [`Wrong`] is about the key `path`.
    pub fn parse(path: &str) -> Result<Self, Wrong> {
        let wrong = |what: String| Wrong::new("path", what).hint(EXAMPLE);
        if path.is_empty() {
            return Err(wrong("`path` is empty".into()));
        }
        if path.chars().any(char::is_control) {
            return Err(wrong("`path` holds control characters".into()));
        }
        if let Some(rest) = path.strip_prefix("s3://") {
            return Self::bucket(rest).map_err(wrong);
        }
        // `s3:/bucket` would be a directory called `s3:`, which nobody means.
        let scheme = path.split_once("://").map(|it| it.0).or_else(|| path.starts_with("s3:").then_some("s3"));
        match scheme {
            Some("s3") => Err(wrong(format!("`{path}` has not two slashes after `s3:`"))),
            Some("file") => Err(wrong(format!("`{path}` is a URL, and a directory is written as a path"))),
            Some(scheme) => Err(wrong(format!("`{scheme}://` is no place for files: directories and `s3://` are"))),
            None => Ok(Self::Directory(path.into())),
        }
    }

    /// `bucket` or `bucket/prefix`; an error says what is wrong.
    fn bucket(rest: &str) -> Result<Self, String> {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Buckets of before March 2018 may have capital letters, underscores and 255 characters: "Bucket naming rules"
        // of the Amazon S3 User Guide.
        let fits = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
        if !(3..=255).contains(&name.len()) || !name.bytes().all(fits) {
            let rule = "it has 3 to 63 of the characters a-z 0-9 . -";
            return Err(format!("`{name}` cannot be the name of a bucket: {rule}"));
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::Bucket { name: name.to_owned(), prefix })
    }
}
