"""What the service is about, as plain values: neither a database's rows nor OpenAI's JSON.

Times are seconds since 1970 (UTC). Every object belongs to one tenant, and is unknown to all others.
"""
