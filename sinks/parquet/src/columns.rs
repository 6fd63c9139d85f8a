//! What a file keeps of its rows: columns, their types, and their order within a row group.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_ord::sort::{SortColumn, SortOptions, lexsort_to_indices};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take_record_batch;
use forebay_api::{Wrong, column};
use parquet::arrow::{ArrowSchemaConverter, parquet_to_arrow_schema};
use parquet::file::metadata::SortingColumn;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use crate::{Parquet, Timestamps};

/// Ascending, and rows without a value last.
const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The columns of a file.
#[derive(Debug)]
pub(crate) struct Columns {
    /// The columns of the input that stay in the file.
    kept: Vec<usize>,
    schema: SchemaRef,
    parquet: SchemaDescriptor,
    /// By which columns of the file its row groups are sorted.
    sort: Vec<usize>,
}

impl Columns {
    pub(crate) fn new(config: &Parquet, in_path_only: &[String], input: &SchemaRef) -> Result<Self, Wrong> {
        let fields = input.fields();
        let kept: Vec<usize> = (0..fields.len()).filter(|it| !in_path_only.contains(fields[*it].name())).collect();
        if kept.is_empty() {
            let what = "every column is a level of the path, so the files would have none";
            return Err(Wrong::new("partition.columns", what));
        }
        let unit = match config.timestamps {
            Timestamps::Millis => TimeUnit::Millisecond,
            Timestamps::Micros => TimeUnit::Microsecond,
        };
        // Without metadata: it is no part of the rows, and comes in no certain order.
        let field = |it: &usize| {
            let field = fields[*it].as_ref().clone().with_metadata(Default::default());
            match field.data_type() {
                DataType::Timestamp(_, zone) => {
                    let zone = zone.clone();
                    field.with_data_type(DataType::Timestamp(unit, zone))
                }
                _ => field,
            }
        };
        let schema = Arc::new(Schema::new(kept.iter().map(field).collect::<Vec<Field>>()));
        let parquet = storable(&schema)?;
        let sort = config.sort.iter().map(|it| sortable(&schema, it)).collect::<Result<Vec<_>, _>>()?;
        for name in &config.bloom_filters {
            let found = &schema.fields()[column(&schema, "bloom_filters", name)?];
            if found.data_type().is_nested() || *found.data_type() == DataType::Boolean {
                let what = format!("column `{name}` holds {}, which needs no bloom filter", found.data_type());
                return Err(Wrong::new("bloom_filters", what));
            }
        }
        Ok(Self { kept, schema, parquet, sort })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns as Parquet has them.
    pub(crate) fn leaves(&self) -> &SchemaDescriptor {
        &self.parquet
    }

    /// Whether rows are sorted within their row group.
    pub(crate) fn is_sorted(&self) -> bool {
        !self.sort.is_empty()
    }

    /// What the footer says about the order.
    pub(crate) fn sorting(&self) -> Option<Vec<SortingColumn>> {
        let leaf = |it: &usize| {
            let path = ColumnPath::from(self.schema.field(*it).name().clone());
            let nth = self.parquet.columns().iter().position(|leaf| *leaf.path() == path);
            let column_idx = nth.and_then(|it| i32::try_from(it).ok()).unwrap_or_default();
            SortingColumn { column_idx, descending: ORDER.descending, nulls_first: ORDER.nulls_first }
        };
        self.is_sorted().then(|| self.sort.iter().map(leaf).collect())
    }

    /// The same rows in the order of the file. Rows that are alike in it keep theirs.
    pub(crate) fn sorted(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let by = |values: ArrayRef| SortColumn { values, options: Some(ORDER) };
        let numbers = arrow_array::UInt32Array::from_iter_values(0..rows.num_rows() as u32);
        let columns: Vec<SortColumn> = self
            .sort
            .iter()
            .map(|it| by(rows.column(*it).clone()))
            .chain(std::iter::once(by(Arc::new(numbers))))
            .collect();
        take_record_batch(rows, &lexsort_to_indices(&columns, None)?)
    }

    /// What files keep of these rows.
    pub(crate) fn keep(&self, rows: &RecordBatch) -> Result<Kept, ArrowError> {
        let mut lost = Vec::new();
        let columns = self.kept.iter().zip(self.schema.fields()).map(|(column, field)| {
            let column = rows.column(*column);
            if column.data_type() == field.data_type() {
                return Ok(column.clone());
            }
            let converted = arrow_cast::cast(column, field.data_type())?;
            if converted.null_count() > column.null_count() {
                lost.push((field.name().clone(), column.nulls().cloned(), converted.nulls().cloned()));
            }
            Ok(converted)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        Ok(Kept { rows: RecordBatch::try_new(self.schema.clone(), columns)?, lost })
    }
}

/// Rows as files keep them.
pub(crate) struct Kept {
    pub(crate) rows: RecordBatch,
    /// Columns with times that the file's unit cannot hold: the nulls that came, and those that were made.
    lost: Vec<(String, Option<NullBuffer>, Option<NullBuffer>)>,
}

impl Kept {
    /// Why a row cannot be kept whole, if it cannot.
    pub(crate) fn check(&self, row: usize) -> Result<(), String> {
        let is_null = |it: &Option<NullBuffer>| it.as_ref().is_some_and(|it| it.is_null(row));
        match self.lost.iter().find(|(_, before, after)| is_null(after) && !is_null(before)) {
            None => Ok(()),
            Some((name, _, _)) => Err(format!("the time in column `{name}` is too far away for the unit of the file")),
        }
    }
}

fn sortable(schema: &SchemaRef, name: &str) -> Result<usize, Wrong> {
    let index = column(schema, "sort", name)?;
    let found = schema.field(index).data_type();
    if found.is_nested() {
        return Err(Wrong::new("sort", format!("column `{name}` holds {found}, which has no order")));
    }
    Ok(index)
}

/// Checks that Parquet can hold the columns, and that readers get a time where there was one.
fn storable(schema: &SchemaRef) -> Result<SchemaDescriptor, Wrong> {
    let failed = |error| Wrong::new("", format!("Parquet cannot hold these columns: {error}"));
    let parquet = ArrowSchemaConverter::new().convert(schema).map_err(failed)?;
    let read = parquet_to_arrow_schema(&parquet, None).map_err(failed)?;
    let lost = schema
        .fields()
        .iter()
        .zip(read.fields())
        .find(|(written, read)| written.data_type().is_temporal() && !read.data_type().is_temporal());
    match lost {
        None => Ok(parquet),
        Some((field, _)) => {
            let what = format!("Parquet has no type for column `{}`, which holds {}", field.name(), field.data_type());
            Err(Wrong::new("", what).hint("make it a timestamp upstream"))
        }
    }
}
