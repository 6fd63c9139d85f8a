"""Works out from raw CloudFront log lines what the reference pipeline must deliver, and compares that with what two
independent readers of Parquet, DuckDB and PyArrow, find in its output: every row, every column, every type.

    python reference.py DIRECTORY

DIRECTORY is where the pipeline ran: the logs are in `examples/data`, the output is in `data`. Prints one JSON object,
and ends with code 1 if anything differs.

This shares nothing with the program. What it knows comes from the CloudFront Developer Guide (order, units and
encoding of the fields), from the Elastic Common Schema 9.4.0 (names and types), and from the reference pages of the
`s3` source and of the `ecs` transform (which line is a row, which field goes where).
"""

import gzip
import ipaddress
import json
import pathlib
import sys
import urllib.parse
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation

import duckdb
import pyarrow
import pyarrow.parquet

# Real-time logs: the first 46 fields of the list without `s-ip`, in the order in which CloudFront delivers them.
REALTIME = """
timestamp c-ip time-to-first-byte sc-status sc-bytes cs-method cs-protocol cs-host cs-uri-stem cs-bytes
x-edge-location x-edge-request-id x-host-header time-taken cs-protocol-version c-ip-version cs-user-agent cs-referer
cs-cookie cs-uri-query x-edge-response-result-type x-forwarded-for ssl-protocol ssl-cipher x-edge-result-type
fle-encrypted-fields fle-status sc-content-type sc-content-len sc-range-start sc-range-end c-port
x-edge-detailed-result-type c-country cs-accept-encoding cs-accept cache-behavior-path-pattern cs-headers
cs-header-names cs-headers-count primary-distribution-id primary-distribution-dns-name origin-fbl origin-lbl asn
""".split()

# Standard logs: all fields. A file says by `#Fields:` which it has, and in which order.
STANDARD = """
date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)
cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken
x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status
fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len
sc-range-start sc-range-end distribution-tenant-id connection-id
""".split()

TIME = pyarrow.timestamp("ms", tz="UTC")
TEXT = pyarrow.string()
TEXTS = pyarrow.list_(pyarrow.string())
LONG = pyarrow.int64()
DOUBLE = pyarrow.float64()

# Fields that are more than one text.
TYPES = {
    "@timestamp": TIME,
    "aws.cloudfront.fle_encrypted_fields": LONG,
    "aws.cloudfront.headers_count": LONG,
    "aws.cloudfront.origin_fbl": DOUBLE,
    "aws.cloudfront.origin_lbl": DOUBLE,
    "aws.cloudfront.range_end": LONG,
    "aws.cloudfront.range_start": LONG,
    "aws.cloudfront.time_to_first_byte": DOUBLE,
    "event.category": TEXTS,
    "event.duration": LONG,
    "event.type": TEXTS,
    "http.request.bytes": LONG,
    "http.response.body.bytes": LONG,
    "http.response.bytes": LONG,
    "http.response.status_code": LONG,
    "network.forwarded_ip": TEXTS,
    "related.hosts": TEXTS,
    "related.ip": TEXTS,
    "source.as.number": LONG,
    "source.port": LONG,
}

# Kept as they were logged.
CLOUDFRONT = {
    "x-edge-location": "edge_location",
    "cs-cookie": "cookies",
    "cs(Cookie)": "cookies",
    "x-edge-response-result-type": "edge_response_result_type",
    "x-edge-result-type": "edge_result_type",
    "fle-status": "fle_status",
    "x-edge-detailed-result-type": "edge_detailed_result_type",
    "cs-accept-encoding": "accept_encoding",
    "cs-accept": "accept",
    "cache-behavior-path-pattern": "cache_behavior_path_pattern",
    "cs-headers": "headers",
    "cs-header-names": "header_names",
    "primary-distribution-id": "primary_distribution_id",
    "primary-distribution-dns-name": "primary_distribution_dns_name",
    "distribution-tenant-id": "distribution_tenant_id",
    "connection-id": "connection_id",
}


class Refused(Exception):
    """A line that is no event."""


def whole(text, bits=64):
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << bits:
        raise Refused(f"{text} is not a number of {bits} bits")
    return int(text)


def decimal(text):
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Refused(f"{text} is not a number") from None
    if not value.is_finite():
        raise Refused(f"{text} is not a number")
    return value


def double(text):
    value = decimal(text)
    return None if value is None else float(value)


def address(text):
    """The canonical form of RFC 5952."""
    if text is None:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise Refused(f"{text} is not an address") from None
    mapped = getattr(found, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(found)


def forwarded(text):
    """The addresses of X-Forwarded-For, in which a client may have written anything."""
    found = []
    for item in (text or "").split(","):
        item = urllib.parse.unquote(item).strip()
        host, _, port = item.rpartition(":")
        for candidate in (item, host.strip("[]") if port.isdigit() else ""):
            try:
                found.append(address(candidate))
                break
            except Refused:
                pass
    return found or None


def decoded(text):
    try:
        return None if text is None else urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def host_name(host):
    if host is None:
        return None
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() and (":" not in name or name.endswith("]")) else host


def distinct(*values):
    return list(dict.fromkeys(it for it in values if it is not None)) or None


def event(log, realtime):
    """The ECS event of one request."""
    if realtime:
        time = decimal(log["timestamp"])
        time = None if time is None else int(time * 1000)
        # The real-time field holds the query as well.
        host, domain, agent, referrer = log["cs-host"], log["x-host-header"], log["cs-user-agent"], log["cs-referer"]
        stem, mark, behind = (log["cs-uri-stem"] or "").partition("?")
        path = None if log["cs-uri-stem"] is None else stem
        query = behind if mark else log["cs-uri-query"]
    else:
        # Host and domain the other way round.
        host, domain, agent, referrer = log["x-host-header"], log["cs(Host)"], log["cs(User-Agent)"], log["cs(Referer)"]
        time, path, query = None, log["cs-uri-stem"], log["cs-uri-query"]
        if log["date"] and log["time"]:
            time = datetime.fromisoformat(f"{log['date']}T{log['time']}+00:00")
            time = int(time.timestamp()) * 1000
    if time is None:
        raise Refused("no time, so no partition")

    client = address(log["c-ip"])
    protocol = log["cs-protocol"] and log["cs-protocol"].lower()
    full = None
    if None not in (protocol, host, path):
        full = f"{protocol}://{host}{path}" + ("" if query is None else f"?{query}")
    name, dot, extension = (path or "").rpartition("/")[2].rpartition(".")
    status = whole(log["sc-status"], 16)
    taken = decimal(log["time-taken"])
    tls, version = log["ssl-protocol"], None
    if tls is not None:
        digits = next((nth for nth, it in enumerate(tls) if it.isdigit()), len(tls))
        tls, version = tls[:digits].removesuffix("v").lower(), tls[digits:] or None
    others = forwarded(log["x-forwarded-for"])

    fields = {
        "@timestamp": time,
        "aws.cloudfront.domain": domain,
        "aws.cloudfront.fle_encrypted_fields": whole(log["fle-encrypted-fields"], 32),
        "aws.cloudfront.range_end": whole(log["sc-range-end"]),
        "aws.cloudfront.range_start": whole(log["sc-range-start"]),
        "aws.cloudfront.time_to_first_byte": double(log["time-to-first-byte"]),
        "cloud.provider": "aws",
        "destination.address": host,
        "destination.domain": host_name(host),
        "ecs.version": "9.4.0",
        "event.category": ["web"],
        "event.duration": None if taken is None else int(taken * 10**9),
        "event.id": log["x-edge-request-id"],
        "event.kind": "event",
        "event.outcome": None if status is None else "success" if 0 < status < 400 else "failure",
        "event.type": ["access"],
        "http.request.bytes": whole(log["cs-bytes"]),
        "http.request.id": log["x-edge-request-id"],
        "http.request.method": log["cs-method"],
        "http.request.referrer": referrer,
        "http.response.body.bytes": whole(log["sc-content-len"]),
        "http.response.bytes": whole(log["sc-bytes"]),
        "http.response.mime_type": log["sc-content-type"],
        "http.response.status_code": status,
        "http.version": log["cs-protocol-version"] and log["cs-protocol-version"].removeprefix("HTTP/"),
        "network.forwarded_ip": others,
        "network.protocol": protocol,
        "network.type": client and ("ipv6" if ":" in client else "ipv4"),
        "related.hosts": distinct(host_name(host), domain),
        "related.ip": distinct(client, *(others or [])),
        "source.address": client,
        "source.ip": client,
        "source.port": whole(log["c-port"], 16),
        "tls.cipher": log["ssl-cipher"],
        "tls.version": version,
        "tls.version_protocol": tls,
        "url.domain": host_name(host),
        "url.extension": extension if name and dot and extension else None,
        "url.full": full,
        "url.path": path,
        "url.query": query,
        "url.scheme": protocol,
        "user_agent.original": decoded(agent),
    }
    if realtime:
        fields |= {
            "aws.cloudfront.headers_count": whole(log["cs-headers-count"], 32),
            "aws.cloudfront.origin_fbl": double(log["origin-fbl"]),
            "aws.cloudfront.origin_lbl": double(log["origin-lbl"]),
            "network.type": log["c-ip-version"] and log["c-ip-version"].lower(),
            "source.as.number": whole(log["asn"], 32),
            "source.geo.country_iso_code": log["c-country"],
        }
    fields |= {f"aws.cloudfront.{field}": log[column] for column, field in CLOUDFRONT.items() if column in log}
    return {output_name(field): value for field, value in fields.items()}


def output_name(field):
    """As the pipeline's `names = "underscored"` and `rename` say."""
    return "ts" if field == "@timestamp" else field.replace(".", "_")


def valued(names, values):
    return {name: None if value == "-" else value for name, value in zip(names, values)}


def realtime_log(line, _header):
    values = line.split("\t")
    if len(values) != len(REALTIME):
        raise Refused(f"{len(values)} values, not {len(REALTIME)}")
    return valued(REALTIME, values)


def standard_log(line, header):
    if header is None:
        raise Refused("no `#Fields:` line comes before it")
    values = line.split("\t")
    if len(values) < len(header) or any(values[len(header) :]):
        raise Refused(f"{len(values)} values, not {len(header)}")
    return dict.fromkeys(STANDARD) | valued(header, values)


def expected(directory, realtime):
    """All events of a directory, and the places of lines that are none: file and number of the line."""
    events, refused = [], []
    for path in sorted(it for it in pathlib.Path(directory).rglob("*") if it.is_file()):
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        header = None
        for number, line in enumerate(text.removesuffix(b"\n").split(b"\n"), start=1):
            line = line.removesuffix(b"\r")
            if not realtime and line.startswith(b"#"):
                if line.startswith(b"#Fields:"):
                    header = line.decode().split()[1:]
                continue
            if not line:
                continue
            try:
                log = (realtime_log if realtime else standard_log)(line.decode(), header)
                events.append(event(log, realtime))
            except (Refused, UnicodeDecodeError):
                refused.append((path.relative_to(directory).as_posix(), number))
    return events, refused


def partition_of(row, realtime):
    time = datetime.fromtimestamp(row["ts"] // 1000, timezone.utc)
    day = f"year={time.year:04}/month={time.month:02}/day={time.day:02}"
    return f"{day}/hour={time.hour:02}" if realtime else day


def key(row):
    return json.dumps(row, sort_keys=True, ensure_ascii=False)


def millis(value):
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


def by_pyarrow(output):
    """Rows, each with its partition, and what is wrong with types."""
    rows, faults = [], []
    due = {output_name(name): kind for name, kind in TYPES.items()}
    for path in sorted(pathlib.Path(output).rglob("*.parquet")):
        # As one file: what the path says is not in it.
        table = pyarrow.parquet.ParquetFile(path).read()
        partition = path.parent.relative_to(output).as_posix()
        for field in table.schema:
            if field.type != due.get(field.name, TEXT):
                faults.append(f"{path}: {field.name} is {field.type}, not {due.get(field.name, TEXT)}")
        rows += [(partition, {name: millis(value) for name, value in row.items()}) for row in table.to_pylist()]
    return rows, faults


def by_duckdb(output):
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    files = f"{output}/**/*.parquet"
    result = database.execute("SELECT * FROM read_parquet(?, hive_partitioning = true)", [files])
    names = [it[0] for it in result.description]
    rows = []
    for values in result.fetchall():
        row = {name: millis(value) for name, value in zip(names, values)}
        levels = {it: row.pop(it) for it in ("year", "month", "day", "hour") if it in row}
        rows.append(("/".join(f"{level}={int(value):02}" for level, value in levels.items()), row))
    return rows, []


def dead_letters(directory, source):
    """Places of refused lines. A partition is named by the file and its content: `name@digest:size`."""
    letters = [json.loads(line) for path in pathlib.Path(directory).glob("*.jsonl") for line in path.open()]
    return [(it["partition"].rpartition("@")[0], int(it["position"])) for it in letters if it["source"] == source]


def compare(directory, log):
    realtime = log == "realtime"
    events, refused = expected(f"{directory}/examples/data/{log}", realtime)
    output = f"{directory}/data/{log}"
    due = Counter(map(key, events))
    report = {"expected": len(events), "refused": len(refused), "columns": len(events[0]), "faults": []}
    letters = dead_letters(f"{directory}/data/refused", log)
    if sorted(refused) != sorted(letters):
        report["faults"].append(f"the dead letters are of {sorted(letters)}, not of {sorted(refused)}")
    report["partitions"] = len({partition_of(it, realtime) for it in events})
    for reader, read in (("pyarrow", by_pyarrow), ("duckdb", by_duckdb)):
        rows, faults = read(output)
        faults += [f"in {it}: {key(row)}" for it, row in rows if it != partition_of(row, realtime)]
        found = Counter(key(row) for _, row in rows)
        faults += [f"missing: {it}" for it in (due - found).elements()]
        faults += [f"unexpected: {it}" for it in (found - due).elements()]
        report[reader] = len(rows)
        report["faults"] += [f"{reader}: {it}" for it in faults[:6]]
    return report


def main(directory):
    report = {log: compare(directory, log) for log in ("realtime", "standard")}
    print(json.dumps(report, ensure_ascii=False))
    return 1 if any(it["faults"] for it in report.values()) else 0


sys.exit(main(*sys.argv[1:]))
