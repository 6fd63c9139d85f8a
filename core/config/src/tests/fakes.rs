//! Components with one field of each kind, and an environment made of constants.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::{
    BoxError, ByteSize, Config, Outputs, Promise, Resource, Resume, Secret, Sink, SinkConfig, Source, SourceConfig,
    Transform, TransformConfig, Wrong,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Lookup, Registry};

/// Reads lines.
///
/// Each line becomes one row.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    /// The file to read.
    #[schemars(extend("examples" = ["./access.log"]))]
    path: String,
    /// The columns, all text.
    #[serde(default = "message")]
    columns: Vec<String>,
    /// Where to listen for more.
    listen: Option<String>,
}

fn message() -> Vec<String> {
    vec!["message".to_owned()]
}

impl Config for Lines {
    const TYPE: &'static str = "lines";
}

fn text_columns<'a>(names: impl IntoIterator<Item = &'a String>) -> SchemaRef {
    let fields: Vec<Field> = names.into_iter().map(|it| Field::new(it, DataType::Utf8, false)).collect();
    Arc::new(Schema::new(fields))
}

#[async_trait]
impl SourceConfig for Lines {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        if self.path.is_empty() {
            return Err(Wrong::new("path", "the path is empty").hint("name a file").into());
        }
        Ok(text_columns(&self.columns))
    }

    fn resources(&self) -> Vec<Resource> {
        self.listen.iter().filter_map(|it| it.parse().ok()).map(Resource::Port).collect()
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Err("fakes are not opened".into())
    }
}

/// Adds a number made from a column.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    /// The column to count.
    column: String,
    /// How to count.
    #[serde(default)]
    unit: Unit,
    /// Types by column.
    #[serde(default)]
    types: BTreeMap<String, String>,
    /// How many at most.
    max: Option<NonZeroU32>,
}

/// What to count.
#[derive(Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Bytes of UTF-8.
    #[default]
    Bytes,
    /// Unicode letters.
    Letters,
}

impl Config for Count {
    const TYPE: &'static str = "count";
}

impl TransformConfig for Count {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        if self.max.is_some_and(|it| it.get() > 1000) {
            return Err("counting is limited to 1000".into());
        }
        assert!(matches!(self.unit, Unit::Bytes | Unit::Letters));
        Ok(Box::new(Counter { column: self.column.clone(), types: self.types.clone() }))
    }
}

struct Counter {
    column: String,
    types: BTreeMap<String, String>,
}

impl Transform for Counter {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        forebay_api::column(input, "column", &self.column)?;
        for column in self.types.keys() {
            forebay_api::column(input, &format!("types.{column}"), column)?;
        }
        let count = Field::new("count", DataType::Int64, false);
        let fields = input.fields().iter().cloned().chain([Arc::new(count)]);
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    fn apply(&mut self, _rows: arrow_array::RecordBatch, _out: &mut Outputs) -> Result<(), BoxError> {
        Err("fakes are not run".into())
    }
}

/// Stores rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// The directory.
    #[schemars(extend("examples" = ["./data"]))]
    path: PathBuf,
    /// The key to the directory.
    password: Option<Secret>,
    /// The size of a file.
    #[serde(default = "size")]
    size: ByteSize,
    /// Whether to write slowly.
    #[serde(default)]
    slow: bool,
}

fn size() -> ByteSize {
    ByteSize::mib(64)
}

impl Config for Store {
    const TYPE: &'static str = "store";
}

#[async_trait]
impl SinkConfig for Store {
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError> {
        assert!(self.size.bytes() > 0 || self.slow, "an empty file is written slowly");
        if self.password.as_ref().is_some_and(|it| it.reveal() == "guess me") {
            return Err(Wrong::new("password", "the password is too simple").into());
        }
        forebay_api::column(input, "", "message").map(|_| ()).map_err(Into::into)
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Directory(self.path.clone())]
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Err("fakes are not opened".into())
    }
}

/// Loses rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hole {}

impl Config for Hole {
    const TYPE: &'static str = "hole";
}

#[async_trait]
impl SinkConfig for Hole {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Err("fakes are not opened".into())
    }
}

pub(crate) fn registry() -> Registry {
    Registry::default().source::<Lines>().transform::<Count>().sink::<Store>().sink::<Hole>()
}

/// Knows the variables `HOME_DIR`, `SIZE`, `YES`, `FOUR`, `COLUMN` and `PASSWORD`, and the file `secret.txt`.
pub(crate) struct World;

impl Lookup for World {
    fn variable(&self, name: &str) -> Result<String, String> {
        let value = match name {
            "HOME_DIR" => "/home/forebay",
            "SIZE" => "4 parsecs",
            "YES" => "true",
            "FOUR" => "4",
            "COLUMN" => "mesage",
            "PASSWORD" => "hunter2",
            _ => return Err("is not set here".to_owned()),
        };
        Ok(value.to_owned())
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("secret.txt") => Ok("guess me\n".to_owned()),
            _ => Err("cannot be read here".to_owned()),
        }
    }
}
