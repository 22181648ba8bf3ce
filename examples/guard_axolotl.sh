#!/bin/sh
# Guard a tenant's file for Axolotl, then train with the configuration that the guard wrote.
#
#     sh examples/guard_axolotl.sh examples/tenant.jsonl runs/axolotl
set -eu
data=${1:-examples/tenant.jsonl}
out=${2:-runs/axolotl}
mkdir -p "$out"
watchword guard "$data" --defense "${DEFENSE:-anchored_align}" --for axolotl --out "$out/guarded.jsonl" --max-length 2048
echo "now run: cd $out && axolotl train guarded.axolotl.yaml"
