"""What a model is measured by, one file each: its prompts, its judges, and its metrics with their headings."""
