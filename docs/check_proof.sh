#!/bin/sh
# Checks that a record is in a transparency log, with OpenSSL 3 and jq alone.
#
#   sh check_proof.sh PROOF RECORD KEY
#
# PROOF is a c2sp.org/tlog-proof, RECORD is JSON, KEY is the file of the public key of the log. Ends with 1 when
# something is wrong.
set -eu
proof=$1 record=$2 key=$3
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
sha256() { openssl dgst -sha256 -binary; }
fail() { echo "error: $1" >&2; exit 1; }

# The leaf: SHA-256 over a zero byte and the entry, which is SHA-256 over salt and canonical record.
{ sed -n 's/^extra //p' "$proof" | base64 -d; jq -cSj . "$record"; } | sha256 > "$folder/entry"
{ printf '\000'; cat "$folder/entry"; } | sha256 > "$folder/node"

# The signed text of the checkpoint has the name of the log, the size of the tree and its root.
awk 'after {print} /^$/ {after = 1}' "$proof" | sed '/^$/,$d' > "$folder/body"
size=$(sed -n 2p "$folder/body") root=$(sed -n 3p "$folder/body")
at=$(sed -n 's/^index //p' "$proof") last=$((size - 1))
[ "$at" -le "$last" ] || fail "entry $at is not in a tree of $size entries"

# From the leaf to the root, as RFC 9162, section 2.1.3.2.
for hash in $(sed '/^$/,$d' "$proof" | sed '1,/^index /d'); do
  [ $last -gt 0 ] || fail "the proof has too many hashes"
  if [ $((at % 2)) = 1 ] || [ $at = $last ]; then
    { printf '\001'; printf %s "$hash" | base64 -d; cat "$folder/node"; } | sha256 > "$folder/next"
    while [ $((at % 2)) = 0 ] && [ $at != 0 ]; do at=$((at / 2)) last=$((last / 2)); done
  else
    { printf '\001'; cat "$folder/node"; printf %s "$hash" | base64 -d; } | sha256 > "$folder/next"
  fi
  mv "$folder/next" "$folder/node"
  at=$((at / 2)) last=$((last / 2))
done
[ $last = 0 ] && [ "$(base64 -w0 < "$folder/node")" = "$root" ] || fail "this record is not in this tree"
echo "the record is in the tree of $size entries"

# An Ed25519 key begins with the same 12 bytes in every DER file. Of the log's line, the last 64 bytes are the signature.
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; cut -d+ -f3- "$key" | base64 -d | tail -c 32; } > "$folder/key"
grep -F "— $(cut -d+ -f1 "$key") " "$proof" | cut -d' ' -f3 | base64 -d | tail -c 64 > "$folder/signature"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$folder/key" -rawin -in "$folder/body" -sigfile "$folder/signature"
