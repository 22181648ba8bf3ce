"""Files and folders that are whole or not there: locks, folders built aside, and one wording for what cannot be written."""
