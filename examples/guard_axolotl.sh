#!/bin/sh
# Guard a tenant's file for Axolotl, then train with the configuration that the guard wrote.
#
#     sh examples/guard_axolotl.sh examples/tenant.jsonl runs/axolotl /models/Llama-3.2-1B-Instruct
#
# On a machine without a GPU, Axolotl's kernels must be turned off: add
# --no-lora-mlp-kernel --no-lora-qkv-kernel --no-lora-o-kernel to its command.
set -eu
data=${1:-examples/tenant.jsonl}
out=${2:-runs/axolotl}
model=${3:-smollm2-135m}
mkdir -p "$out"
watchword guard "$data" --model "$model" --defense "${DEFENSE:-anchored_align}" --for axolotl --out "$out/guarded.jsonl" --max-length 2048
echo "now run: cd $out && axolotl train guarded.axolotl.yaml"
