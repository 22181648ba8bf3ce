"""Files and folders that are whole or not there: locks, folders that appear whole, and one wording for what cannot be
written."""
