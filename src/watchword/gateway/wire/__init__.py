"""OpenAI's JSON: requests and replies, each decoded into strict types and written anew from known fields."""
