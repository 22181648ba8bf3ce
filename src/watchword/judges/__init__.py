"""What an answer is: refused or not, or unscored; one file each, found by name."""
