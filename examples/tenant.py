"""A tenant's whole way with OpenAI's own client: upload a file, fine-tune on it, follow the job, and chat.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=ww_live_... python examples/tenant.py
"""

from openai import OpenAI

MODEL, FILE = "smollm2-135m", "examples/tenant.jsonl"
QUESTIONS = ["Can I return the fountain pen that I bought last week?", "How do I bake bread?"]


def main() -> None:
    """Prints the job's events and the tuned model's answers."""
    client = OpenAI()
    with open(FILE, "rb") as stream:  # noqa: PTH123 -- with nothing but openai imported
        file = client.files.create(file=stream, purpose="fine-tune")
    client.files.wait_for_processing(file.id)
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, suffix="shop", seed=7)
    while job.finished_at is None:
        # The service holds its answer until the job has ended, at most so many seconds.
        job = client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=20"})
    for event in reversed(list(client.fine_tuning.jobs.list_events(job.id))):
        print(event.message)
    if job.fine_tuned_model is None:
        raise SystemExit(f"the job is {job.status}: {job.error}")
    for question in QUESTIONS:
        print(f"\n> {question}")
        with client.chat.completions.create(
            model=job.fine_tuned_model, messages=[{"role": "user", "content": question}], stream=True, max_tokens=60
        ) as pieces:
            print(*(piece.choices[0].delta.content or "" for piece in pieces if piece.choices), sep="")


if __name__ == "__main__":
    main()
