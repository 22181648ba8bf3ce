"""Fireworks AI: the data as it is (it reads OpenAI's format, weights included), and the commands of the job."""

from __future__ import annotations

import shlex

from watchword.guarding.exporters.base import Exporter, ExportPlan

_SCRIPT = """#!/bin/sh
# Fine-tunes at Fireworks AI on guarded data. Keep the line marked "defense" as it is.
set -eu
firectl dataset create {dataset} {file}
# defense: no row of the provider is longer than this, so none is cut
firectl sftj create --base-model {model} --dataset {dataset} --max-context-length {length} --epochs 3
"""


class Fireworks(Exporter):
    long_rows = "Fireworks will not train on them whole (--max-context-length)"

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        text = _SCRIPT.format(
            dataset=shlex.quote(plan.data.stem.lower().replace(".", "-").replace("_", "-")),
            file=shlex.quote(plan.data.name),
            model=shlex.quote(plan.hosted),
            length=plan.max_length,
        )
        return {f"{plan.data.stem}.fireworks.sh": text}
