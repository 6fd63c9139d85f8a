mod bill;
mod file;
mod lines;
mod sending;

use crate::Firehose;

fn config(toml: &str) -> Firehose {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}
