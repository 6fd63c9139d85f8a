"""Compares what runs of a pipeline left behind with what an undisturbed run left, row by row, all columns.

    python compare.py UNDISTURBED OTHER...

Each is a directory of Parquet files. Prints one JSON object: the rows of the undisturbed run, and over all others
the rows that are lost, that are there too often, and that should not be there at all. Read by DuckDB.
"""

import json
import sys

import duckdb


def load(database, table, directory):
    """A table of the distinct rows under a directory, each as a digest, and how often it is there."""
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        SELECT md5(CAST(file AS VARCHAR)) AS digest, count(*) AS copies
        FROM read_parquet(?, hive_partitioning = true) AS file
        GROUP BY digest
        """,
        [f"{directory}/**/*.parquet"],
    )


def main(undisturbed, others):
    database = duckdb.connect()
    load(database, "expected", undisturbed)
    rows, distinct = database.execute("SELECT sum(copies), count(*) FROM expected").fetchone()
    report = {"runs": len(others), "rows": int(rows), "distinct": distinct, "lost": 0, "duplicated": 0, "unexpected": 0}
    for directory in others:
        load(database, "found", directory)
        lost, duplicated, unexpected = database.execute(
            """
            SELECT
                coalesce(sum(greatest(expected.copies - coalesce(found.copies, 0), 0)), 0),
                coalesce(sum(greatest(found.copies - expected.copies, 0)), 0),
                coalesce(sum(found.copies) FILTER (WHERE expected.digest IS NULL), 0)
            FROM expected FULL JOIN found USING (digest)
            """
        ).fetchone()
        report["lost"] += int(lost)
        report["duplicated"] += int(duplicated)
        report["unexpected"] += int(unexpected)
    print(json.dumps(report))


main(sys.argv[1], sys.argv[2:])
