#!/bin/sh
# Runs examples/web-telemetry.toml until Ctrl-C, and serves the page that sends to it.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release
python3 -m http.server 8000 --bind 127.0.0.1 > /dev/null 2>&1 &
trap "kill $!" EXIT
trap : INT
echo "open http://localhost:8000/examples/web-telemetry/ and press Ctrl-C when you have seen enough"
./target/release/forebay run examples/web-telemetry.toml
