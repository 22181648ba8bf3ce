"""The one door for a tenant's data: sources, row formats, the one reader (``rows``), the scan, and the one validator."""
