"""Reads Parquet files that a pipeline has written: as a Hive table in Spark, by the statement that `forebay ddl` prints for
Athena, and as files in PyArrow and in DuckDB; each prints what it found, in the same form.

    python spark.py hive DIRECTORY TABLE=FILES...       with PySpark
    python spark.py files DIRECTORY TABLE=FILES...      with PyArrow
    python spark.py duckdb DIRECTORY TABLE=FILES...     with DuckDB

DIRECTORY is where the pipeline ran: the files of a table are in DIRECTORY/FILES, its statement is in DIRECTORY/TABLE.sql.
Prints one JSON object: for each table the columns with their types, the partitions with their rows, and a digest over all
rows, all columns. Spark reads twice: with its own reader, and with Hive's `ParquetHiveSerDe`, of Hive 2.3, which does
not know times as INT64 and gets them as numbers.
"""

import hashlib
import json
import pathlib
import sys
from datetime import datetime, timezone

LEVELS = ("year", "month", "day", "hour")


def plain(value):
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return round(value.timestamp() * 1000)
    return value


def report(types, rows):
    """Rows are dictionaries, with the levels of the path among the columns."""
    partitions, digests = {}, []
    for row in rows:
        partition = "/".join(f"{level}={int(row[level]):02}" for level in LEVELS if level in row)
        partitions[partition] = partitions.get(partition, 0) + 1
        text = json.dumps({name: plain(row[name]) for name in sorted(row)}, ensure_ascii=False)
        digests.append(hashlib.sha256(text.encode()).hexdigest())
    digest = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return {"types": types, "partitions": dict(sorted(partitions.items())), "rows": digest}


def statement(directory, table, files, name):
    text = (directory / f"{table}.sql").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).rstrip().rstrip(";")
    place = f"s3://BUCKET/{files}/"
    assert place in text, text
    return text.replace(place, f"file://{directory}/{files}/").replace(f"`{table}`", f"`{name}`", 1)


def hive(directory, tables):
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:forebay;create=true",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        # `${year}` is for Athena to fill in.
        "spark.sql.variable.substitute": "false",
        "spark.sql.warehouse.dir": f"{directory}/warehouse",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")

    def read(table):
        spark.sql(f"MSCK REPAIR TABLE `{table}`")
        frame = spark.table(table)
        return report(dict(frame.dtypes), [row.asDict(recursive=True) for row in frame.collect()])

    found = {}
    for table, files in tables.items():
        spark.sql(statement(directory, table, files, table))
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "true")
        found[table] = read(table)
        spark.sql(statement(directory, table, files, f"{table}_serde").replace("` timestamp", "` bigint"))
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "false")
        found[f"{table}_serde"] = read(f"{table}_serde")
    return found


def with_serde(found):
    """What Hive's reader should find: times as numbers."""
    for table, its in list(found.items()):
        types = {name: "bigint" if kind == "timestamp" else kind for name, kind in its["types"].items()}
        found[f"{table}_serde"] = its | {"types": types}
    return found


def files(directory, tables):
    import pyarrow
    import pyarrow.parquet

    names = {
        pyarrow.string(): "string",
        pyarrow.bool_(): "boolean",
        pyarrow.int32(): "int",
        pyarrow.int64(): "bigint",
        pyarrow.float64(): "double",
        pyarrow.timestamp("ms", tz="UTC"): "timestamp",
    }

    def name(kind):
        is_list = pyarrow.types.is_list(kind)
        return f"array<{names[kind.value_type]}>" if is_list else names[kind]

    found = {}
    for table, its in tables.items():
        rows, types = [], {}
        for path in sorted((directory / its).rglob("*.parquet")):
            read = pyarrow.parquet.ParquetFile(path).read()
            types = {field.name: name(field.type) for field in read.schema}
            levels = dict(level.split("=") for level in path.parent.relative_to(directory / its).parts)
            levels = {level: int(value) for level, value in levels.items()}
            types |= dict.fromkeys(levels, "int")
            rows += [row | levels for row in read.to_pylist()]
        found[table] = report(types, rows)
    return with_serde(found)


def duckdb(directory, tables):
    import duckdb

    names = {
        "VARCHAR": "string",
        "BOOLEAN": "boolean",
        "INTEGER": "int",
        "BIGINT": "bigint",
        "DOUBLE": "double",
        "TIMESTAMP WITH TIME ZONE": "timestamp",
        "VARCHAR[]": "array<string>",
    }
    found = {}
    for table, its in tables.items():
        first = next((directory / its).rglob("*.parquet"))
        levels = [level.split("=")[0] for level in first.parent.relative_to(directory / its).parts]
        levels = ", ".join(f"'{level}': INTEGER" for level in levels)
        files = f"'{directory}/{its}/**/*.parquet', hive_partitioning = true, hive_types = {{{levels}}}"
        read = duckdb.sql(f"SELECT * FROM read_parquet({files})")
        types = {column: names[str(kind)] for column, kind in zip(read.columns, read.types)}
        rows = [dict(zip(read.columns, row)) for row in read.fetchall()]
        found[table] = report(types, rows)
    return with_serde(found)


reader = {"hive": hive, "files": files, "duckdb": duckdb}[sys.argv[1]]
tables = dict(argument.split("=", 1) for argument in sys.argv[3:])
print(json.dumps(reader(pathlib.Path(sys.argv[2]).resolve(), tables), sort_keys=True))
