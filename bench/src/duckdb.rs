//! The same job by DuckDB.

use std::fmt::Write;
use std::path::Path;

use crate::data::columns;

/// The pinned version.
pub const REQUIREMENT: &str = "duckdb==2.0.0";

/// A Python program that reads the gzip objects of `from` as CSV with the same types, and writes one Parquet file.
pub fn program(from: &Path, to: &Path) -> String {
    let mut types = String::new();
    for column in columns() {
        let kind = match column {
            "time-to-first-byte" | "time-taken" | "origin-fbl" | "origin-lbl" => "DECIMAL(18,6)",
            "timestamp" => "DECIMAL(18,3)",
            "sc-status" | "c-port" => "USMALLINT",
            "fle-encrypted-fields" | "cs-headers-count" | "asn" => "UINTEGER",
            "sc-bytes" | "cs-bytes" | "sc-content-len" | "sc-range-start" | "sc-range-end" => "UBIGINT",
            _ => "VARCHAR",
        };
        write!(types, "'{column}': '{kind}', ").expect("a string takes everything");
    }
    format!(
        r#"
import duckdb
duckdb.execute("SET threads = 1")
duckdb.execute("""
    COPY (
        SELECT * REPLACE (make_timestamp((timestamp * 1000)::BIGINT * 1000) AS timestamp)
        FROM read_csv('{}/*.gz', delim = '\t', header = false, quote = '', escape = '', nullstr = '-', columns = {{{types}}})
    ) TO '{}' (FORMAT parquet, COMPRESSION snappy)
""")
"#,
        from.display(),
        to.display(),
    )
}
