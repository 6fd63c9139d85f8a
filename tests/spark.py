"""Reads Parquet files that a pipeline has written: as a Hive table in Spark and as a view in DuckDB, by the statements that
`forebay ddl` prints, and as files in PyArrow; each prints what it found, in the same form.

    python spark.py hive DIRECTORY TABLE=FILES...       with PySpark
    python spark.py files DIRECTORY TABLE=FILES...      with PyArrow
    python spark.py duckdb DIRECTORY TABLE=FILES...     with DuckDB

DIRECTORY is where the pipeline ran: the files of a table are in DIRECTORY/FILES, its statements are in
DIRECTORY/TABLE.athena.sql and DIRECTORY/TABLE.duckdb.sql. Prints one JSON object: for each table the columns with their
types, the partitions with their rows, and a digest over all rows, all columns. Spark reads twice: with its own reader, and
with Hive's `ParquetHiveSerDe`, of Hive 2.3, which does not know times as INT64 and gets them as numbers.
"""

import hashlib
import json
import pathlib
import re
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

LEVELS = ("year", "month", "day", "hour")
# The column of times that stand in the path without a name.
BARE = "datehour"


def levels_of(path, root):
    """What the path of a file says."""
    parts = path.parent.relative_to(root).parts
    if any("=" not in part for part in parts):
        return {BARE: "/".join(parts)}
    return {level: int(value) for level, value in (part.split("=") for part in parts)}


def plain(value):
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return round(value.timestamp() * 1000)
    return value


def report(types, rows):
    """Rows are dictionaries, with the levels of the path among the columns."""
    partitions, digests = {}, []
    for row in rows:
        partition = "/".join(f"{level}={int(row[level]):02}" for level in LEVELS if level in row) or row.get(BARE, "")
        partitions[partition] = partitions.get(partition, 0) + 1
        text = json.dumps({name: plain(row[name]) for name in sorted(row)}, ensure_ascii=False)
        digests.append(hashlib.sha256(text.encode()).hexdigest())
    digest = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return {"types": types, "partitions": dict(sorted(partitions.items())), "rows": digest}


def statement(directory, table, files, name):
    text = (directory / f"{table}.athena.sql").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).rstrip().rstrip(";")
    place = f"s3://BUCKET/{files}/"
    assert place in text, text
    return text.replace(place, f"file://{directory}/{files}/").replace(f"`{table}`", f"`{name}`", 1)


def location(properties, values):
    """Where Athena looks for a partition."""
    place = properties["storage.location.template"]
    for column, value in values.items():
        digits = int(properties.get(f"projection.{column}.digits", 0))
        place = place.replace(f"${{{column}}}", value.zfill(digits))
    return place


def projected(properties):
    """The values of a time that Athena works out: all of its range. None: it has another kind."""
    if properties.get(f"projection.{BARE}.type") != "date":
        return None
    assert properties[f"projection.{BARE}.interval"] == "1", properties
    assert properties[f"projection.{BARE}.interval.unit"] == "HOURS", properties
    form = properties[f"projection.{BARE}.format"]
    for java, python in (("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H")):
        form = form.replace(java, python)
    first, last = properties[f"projection.{BARE}.range"].split(",")
    assert last == "NOW", properties
    first, last = datetime.strptime(first, form), datetime(2027, 1, 1)
    hours = int((last - first) / timedelta(hours=1))
    return [(first + timedelta(hours=hour)).strftime(form) for hour in range(hours)]


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

    def is_there(place):
        return any(pathlib.Path(place.removeprefix("file://")).glob("*.parquet"))

    def read(table, statement):
        properties = dict(re.findall(r"'([^']+)' = '([^']*)'", statement))
        spark.sql(statement)
        spark.sql(f"MSCK REPAIR TABLE `{table}`")
        times = projected(properties)
        # It finds no partitions without names.
        assert times is None or spark.table(table).isEmpty()
        for time in times or ():
            place = location(properties, {BARE: time})
            if is_there(place):
                spark.sql(f"ALTER TABLE `{table}` ADD PARTITION (`{BARE}` = '{time}') LOCATION '{place}'")
        for row in spark.sql(f"SHOW PARTITIONS `{table}`").collect():
            place = location(properties, dict(unquote(level).split("=", 1) for level in row[0].split("/")))
            assert is_there(place), place
        frame = spark.table(table)
        return frame, report(dict(frame.dtypes), [row.asDict(recursive=True) for row in frame.collect()])

    found = {}
    for table, files in tables.items():
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "true")
        frame, found[table] = read(table, statement(directory, table, files, table))
        if BARE in frame.columns:
            # Without partitions.
            every = spark.read.option("recursiveFileLookup", "true").parquet(f"file://{directory}/{files}")
            every, frame = every.collect(), frame.drop(BARE).collect()
            every, frame = (report({}, [row.asDict(recursive=True) for row in rows]) for rows in (every, frame))
            assert every == frame, (every, frame)
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", "false")
        serde = statement(directory, table, files, f"{table}_serde").replace("` timestamp", "` bigint")
        found[f"{table}_serde"] = read(f"{table}_serde", serde)[1]
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
            levels = levels_of(path, directory / its)
            types |= {level: "int" if isinstance(value, int) else "string" for level, value in levels.items()}
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
        duckdb.sql((directory / f"{table}.duckdb.sql").read_text())
        read = duckdb.sql(f'SELECT * FROM "{table}"')
        types = {column: names[str(kind)] for column, kind in zip(read.columns, read.types)}
        rows = [dict(zip(read.columns, row)) for row in read.fetchall()]
        root = directory / its
        if not any("=" in part for part in next(root.rglob("*.parquet")).relative_to(root).parts):
            # The view has the columns of the files only; here what the path says is put beside them.
            seen = report({}, rows)
            pattern = f"parse_path(filename)[-{len(LEVELS) + 1}:-2]"
            files = f"read_parquet('{root}/**/*.parquet', filename = true)"
            read = duckdb.sql(f"SELECT * EXCLUDE (filename), array_to_string({pattern}, '/') AS {BARE} FROM {files}")
            rows = [dict(zip(read.columns, row)) for row in read.fetchall()]
            assert seen["rows"] == report({}, [{name: row[name] for name in types} for row in rows])["rows"]
            types[BARE] = "string"
        found[table] = report(types, rows)
    return with_serde(found)


reader = {"hive": hive, "files": files, "duckdb": duckdb}[sys.argv[1]]
tables = dict(argument.split("=", 1) for argument in sys.argv[3:])
print(json.dumps(reader(pathlib.Path(sys.argv[2]).resolve(), tables), sort_keys=True))
