//! As [`crate::hand`], into ClickHouse: lines that are in memory already, as a consumer of Kinesis would have them, to
//! typed columns, to `INSERT`s of Arrow by the same crate. No reading from Kinesis, no promise of exactly once.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use clickhouse::Client;
use clickhouse_ext_arrow::ArrowClientExt;

use crate::Outcome;
use crate::data::columns;
use crate::hand::{BATCH_ROWS, Column, finished, push};

/// Rows of an INSERT: about as many as the program's own have.
const INSERT_ROWS: usize = 50_000;

/// Inserts every line of a file into a table.
pub fn to_clickhouse(lines: &Path, endpoint: &str, table: &str) -> Outcome {
    let text = fs::read_to_string(lines)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(insert(&text, &Client::default().with_url(endpoint), table))
}

async fn insert(text: &str, client: &Client, table: &str) -> Outcome {
    let mut columns: Vec<Column> = columns().into_iter().map(Column::new).collect();
    let schema = schema(&columns);
    let mut insert = client.insert_arrow(table)?;
    let (mut in_batch, mut in_insert) = (0, 0);
    for line in text.lines() {
        push(&mut columns, line);
        (in_batch, in_insert) = (in_batch + 1, in_insert + 1);
        let is_full = in_insert == INSERT_ROWS;
        if in_batch == BATCH_ROWS || is_full {
            insert.write(&finished(&mut columns, &schema)?).await?;
            in_batch = 0;
        }
        if is_full {
            std::mem::replace(&mut insert, client.insert_arrow(table)?).end().await?;
            in_insert = 0;
        }
    }
    if in_batch > 0 {
        insert.write(&finished(&mut columns, &schema)?).await?;
    }
    if in_insert > 0 {
        insert.end().await?;
    }
    Ok(())
}

/// The statement that makes the table.
pub fn create(table: &str) -> Result<String, Box<dyn Error>> {
    let columns: Vec<Column> = columns().into_iter().map(Column::new).collect();
    let column = |it: &Arc<Field>| {
        let of = match it.data_type() {
            DataType::Utf8 => return Ok(format!("`{}` String", it.name())),
            DataType::Timestamp(..) => "DateTime64(3, 'UTC')",
            DataType::Decimal128(18, 6) => "Decimal(18, 6)",
            DataType::UInt8 => "UInt8",
            DataType::UInt16 => "UInt16",
            DataType::UInt32 => "UInt32",
            DataType::UInt64 => "UInt64",
            other => return Err(format!("no type for {other}")),
        };
        Ok(format!("`{}` Nullable({of})", it.name()))
    };
    let columns = schema(&columns).fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("CREATE TABLE {table} ({}) ENGINE = MergeTree ORDER BY tuple()", columns.join(", ")))
}

fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|it| Field::new(it.name.replace('-', "_"), it.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
