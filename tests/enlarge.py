"""Makes a larger input of the example data: every line many times, each time as another request.

    python enlarge.py EXAMPLES TARGET

The files keep their names and their compression. In every line that holds a request, the field `x-edge-request-id`
is made new; headers and lines that hold no request are taken once.
"""

import gzip
import pathlib
import sys

LINES_MIN = 24_000
# Where `x-edge-request-id` stands in a line with so many fields at least, by the kind of log.
REQUEST_ID = {"realtime": 11, "standard": 14}


def lines_of(path):
    raw = path.read_bytes()
    packed = raw.startswith(b"\x1f\x8b")
    text = gzip.decompress(raw) if packed else raw
    return text.removesuffix(b"\n").split(b"\n"), packed


def anew(line, field, copy):
    values = line.split(b"\t")
    values[field] += b"-%d" % copy
    return b"\t".join(values)


def enlarged(lines, field, copies):
    for line in lines:
        whole = line.count(b"\t") > field and line[:1].isdigit()
        for copy in range(copies if whole else 1):
            yield anew(line, field, copy) if whole and copy else line


def main(examples, target):
    paths = sorted(it for log in REQUEST_ID for it in pathlib.Path(examples, log).rglob("*") if it.is_file())
    files = {path: lines_of(path) for path in paths}
    copies = -(-LINES_MIN // sum(len(lines) for lines, _ in files.values()))
    for path, (lines, packed) in files.items():
        name = path.relative_to(examples)
        text = b"\n".join(enlarged(lines, REQUEST_ID[name.parts[0]], copies)) + b"\n"
        to = pathlib.Path(target) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(gzip.compress(text, mtime=0) if packed else text)


main(*sys.argv[1:])
