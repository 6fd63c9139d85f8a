"""Reads the output of the quick start as a Hive table in Spark, by the statements that `forebay ddl` prints for Athena,
and as files in PyArrow; each prints what it found, in the same form.

    python spark.py hive DIRECTORY       with PySpark
    python spark.py files DIRECTORY      with PyArrow

DIRECTORY is where the pipeline ran: the output is in `data`, the statements are in `realtime.sql` and `standard.sql`.
Prints one JSON object: for each log the columns with their types, the partitions with their rows, and a digest over all
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


def statement(directory, log, table):
    text = (directory / f"{log}.sql").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).rstrip().rstrip(";")
    place = f"s3://BUCKET/data/{log}/"
    assert place in text, text
    return text.replace(place, f"file://{directory}/data/{log}/").replace(f"`{log}`", f"`{table}`", 1)


def hive(directory):
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
    for log in ("realtime", "standard"):
        spark.sql(statement(directory, log, log))
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "true")
        found[log] = read(log)
        spark.sql(statement(directory, log, f"{log}_serde").replace("` timestamp", "` bigint"))
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "false")
        found[f"{log}_serde"] = read(f"{log}_serde")
    return found


def files(directory):
    import pyarrow
    import pyarrow.parquet

    names = {
        pyarrow.string(): "string",
        pyarrow.int64(): "bigint",
        pyarrow.float64(): "double",
        pyarrow.timestamp("ms", tz="UTC"): "timestamp",
        pyarrow.list_(pyarrow.string()): "array<string>",
    }

    def name(kind):
        return "array<string>" if pyarrow.types.is_list(kind) else names[kind]

    found = {}
    for log in ("realtime", "standard"):
        rows, types = [], {}
        for path in sorted((directory / "data" / log).rglob("*.parquet")):
            table = pyarrow.parquet.ParquetFile(path).read()
            types = {field.name: name(field.type) for field in table.schema}
            levels = dict(level.split("=") for level in path.parent.relative_to(directory / "data" / log).parts)
            levels = {level: int(value) for level, value in levels.items()}
            types |= dict.fromkeys(levels, "int")
            rows += [row | levels for row in table.to_pylist()]
        found[log] = report(types, rows)
        as_numbers = {it: "bigint" if kind == "timestamp" else kind for it, kind in types.items()}
        found[f"{log}_serde"] = found[log] | {"types": as_numbers}
    return found


reader = {"hive": hive, "files": files}[sys.argv[1]]
print(json.dumps(reader(pathlib.Path(sys.argv[2]).resolve()), sort_keys=True))
