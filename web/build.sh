#!/usr/bin/env bash
# Builds the page into a folder, for any web server of static files: build.sh [FOLDER] [PROFILE]
#
# The folder is web/dist by default, and Cargo's profile `release`; `page-test` is built sooner and is slower. Needs the Rust target
# wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(realpath -m "${1:-$root/web/dist}")
cd "$root"
profile=${2:-release}
target=wasm32-unknown-unknown
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    echo "the Rust target $target is missing; run: rustup target add $target" >&2
    exit 1
fi
cargo build -p latent-web --lib --profile "$profile" --target $target
mkdir -p "$folder"
cargo run -q -p latent-web --bin bindgen --features bindgen -- "${CARGO_TARGET_DIR:-target}/$target/$profile/latent_web.wasm" "$folder"
cp web/page/* server/page/style/{base,controls}.css server/page/favicon.svg assets/demo.safetensors "$folder"
printf '%s is built; serve it as it is, for example: python3 -m http.server -d %s\n' "$folder" "$folder"
