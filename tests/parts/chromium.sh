# A headless Chromium with the libraries that a bare system does not have, as packed for npm; Deno is what unpacks it.
# part: chromium-131.0.1
build_part() {
  need deno "install Deno 2.6.10 (sh install.sh --deno-only)"
  echo '{}' >deno.json
  deno install --quiet --node-modules-dir=auto "npm:@sparticuz/chromium@${part#chromium-}" >deno.log 2>&1 ||
    { cat deno.log >&2; fail "cannot install @sparticuz/chromium"; }
  packed=node_modules/@sparticuz/chromium/bin
  sha256sum -c --quiet - <<SUMS || fail "this is not the Chromium that was asked for"
fd4bfa9a613f32007217ca82b0a6eecd6fb798005a32535aced76e4c1d825596  $packed/chromium.br
1f481fbdea3425e5b41e74f8d58b75c81dd780552c8f03a572c756fe5297799e  $packed/al2023.tar.br
5fb57a5c6c389d62cc23608d9d3ea73028747b9907ac9b4c6edf82b4eb62d05b  $packed/swiftshader.tar.br
SUMS
  cat >unpack.ts <<'TS'
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
const [from, to] = Deno.args;
await pipeline(createReadStream(from!), createBrotliDecompress(), createWriteStream(to!));
TS
  unbrotli() { deno run --quiet --allow-read --allow-write unpack.ts "$packed/$1.br" "$2" || fail "cannot unpack $1"; }
  unbrotli chromium "$stage/chromium.real"
  for archive in al2023.tar swiftshader.tar; do
    unbrotli "$archive" "$archive"
    tar -xf "$archive" --no-same-owner -C "$stage"
  done
  cat >"$stage/chromium" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$here/lib exec "$here/chromium.real" "$@"
WRAPPER
  chmod +x "$stage/chromium" "$stage/chromium.real"
}
