"""OpenAI's fine-tuning API, and every service that speaks it: the data as it is, and the body of the job."""

from __future__ import annotations

import json

from watchword.guarding.exporters.base import Exporter, ExportPlan


class OpenAI(Exporter):
    long_rows = "the service cuts or refuses what is beyond its own limit for the model"

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        job = {
            "model": plan.hosted,
            "training_file": "the id that POST /v1/files returned for this file (purpose fine-tune)",
            "method": {"type": "supervised"},
        }
        return {f"{plan.data.stem}.openai.json": json.dumps(job, indent=2) + "\n"}
