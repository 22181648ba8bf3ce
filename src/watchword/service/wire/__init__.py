"""OpenAI's JSON, in and out. Nothing inside the service knows it: routes read a request here, and write a reply here."""
