"""What a job may do next, and whose turn it is: rules without a database."""
