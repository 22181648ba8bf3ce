"""Fine-tuning where somebody else trains: a guarded file goes to an API, and a release without weights comes back."""
