"""The fine-tuning service: files, jobs, models and keys of many tenants, defended by default."""
