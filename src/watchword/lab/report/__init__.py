"""results.json as tables, pictures and one HTML page."""
