"""What tenants and servers send as JSON: each form is a reader and a writer, and both know strict types only."""
