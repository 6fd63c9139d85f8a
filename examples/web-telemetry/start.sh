#!/bin/sh
# Runs examples/web-telemetry.toml until Ctrl-C, and serves the page that sends to it, on the first port from 8000 on that
# is free. `LISTEN=127.0.0.1:9000` before it makes the pipeline listen elsewhere.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release
more=${LISTEN:+"?to=http://$LISTEN/beacon"}
python3 - "$more" <<'END' &
import http.server, sys

class Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

for port in range(8000, 9000):
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Pages)
    except OSError:
        continue
    url = f"http://127.0.0.1:{port}/examples/web-telemetry/{sys.argv[1]}"
    print(f"open {url} and press Ctrl-C when you have seen enough", flush=True)
    server.serve_forever()
sys.exit("no port from 8000 to 8999 is free for the page")
END
trap "kill $!" EXIT
trap : INT
./target/release/forebay run examples/web-telemetry.toml
