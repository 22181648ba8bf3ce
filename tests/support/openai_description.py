"""What OpenAI's public description says of replies that we give as well: facts read off it, not its text.

Source: github.com/openai/openai-openapi (MIT, Copyright (c) OpenAI), ``openapi.json`` of 2026-08-21. Of each object: the
fields that must be there, and those that may be null. Fields of what is not offered here are left out.
"""

from __future__ import annotations

REQUIRED = {
    "FileObject": "id object bytes created_at filename purpose status",
    "FileDeleted": "id object deleted",
    "UploadObject": "id created_at filename bytes purpose status expires_at",
    "UploadPartObject": "id object created_at upload_id",
    "JobObject": (
        "created_at error fine_tuned_model finished_at hyperparameters id model object organization_id result_files seed "
        "status trained_tokens training_file validation_file"
    ),
    "JobFault": "code message param",
    "JobEventObject": "object id created_at level message",
    "CheckpointObject": ("created_at fine_tuned_model_checkpoint fine_tuning_job_id id metrics object step_number"),
    "CheckpointMetrics": "",
    "ModelObject": "id object created owned_by",
    "ModelDeleted": "id object deleted",
    "ModelList": "object data",
}
NULLABLE = {
    "UploadObject": "file",
    "JobObject": "error estimated_finish fine_tuned_model finished_at integrations metadata trained_tokens validation_file",
    "JobFault": "param",
}
