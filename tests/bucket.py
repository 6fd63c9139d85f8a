"""Holds Parquet files against the bucket of CloudFront standard logs that they were made of.

    python bucket.py BUCKET DATA

BUCKET is a directory of gzip objects, DATA one of Parquet files. Prints one JSON object: the objects and rows of the
bucket, and the rows that are lost, there twice, or not of the bucket. The objects are read with Python's gzip, the
Parquet files by DuckDB.
"""

import gzip
import json
import pathlib
import sys
from collections import Counter

import duckdb


def logged(bucket):
    """The rows of all objects: time, request id, status, bytes."""
    rows = Counter()
    objects = 0
    for path in sorted(pathlib.Path(bucket).rglob("*.gz")):
        objects += 1
        fields = []
        for line in gzip.open(path, "rt", encoding="utf-8", newline="\n"):
            line = line.rstrip("\n")
            if line.startswith("#"):
                name, _, value = line.partition(": ")
                fields = value.split(" ") if name == "#Fields" else fields
                continue
            value = dict(zip(fields, line.split("\t")))
            time = f"{value['date']} {value['time']}"
            rows[time, value["x-edge-request-id"], int(value["sc-status"]), int(value["sc-bytes"])] += 1
    return objects, rows


def delivered(data):
    """The same of all Parquet files."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    found = database.execute(
        """
        SELECT strftime("@timestamp", '%Y-%m-%d %H:%M:%S'), "event.id", "http.response.status_code", "http.response.bytes"
        FROM read_parquet(?, hive_partitioning = true)
        """,
        [f"{data}/**/*.parquet"],
    )
    return Counter(found.fetchall())


def main(bucket, data):
    objects, expected = logged(bucket)
    found = delivered(data)
    over = found - expected
    unexpected = sum(count for row, count in over.items() if row not in expected)
    print(
        json.dumps(
            {
                "objects": objects,
                "rows": sum(expected.values()),
                "lost": sum((expected - found).values()),
                "duplicated": sum(over.values()) - unexpected,
                "unexpected": unexpected,
            }
        )
    )


main(*sys.argv[1:])
