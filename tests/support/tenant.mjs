// What a tenant does with OpenAI's client for JavaScript; prints what it got as JSON. Arguments: base URL, key, model.
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, model, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const got = {};

const file = await client.files.create({ file: fs.createReadStream(path), purpose: "fine-tune" });
got.file = await client.files.waitForProcessing(file.id, { pollInterval: 50 });
got.content = await (await client.files.content(file.id)).text();
const small = await client.files.create({ file: await toFile(Buffer.from("no json\n"), "bad.jsonl"), purpose: "fine-tune" });
got.bad = await client.files.waitForProcessing(small.id, { pollInterval: 50 });

const job = await client.fineTuning.jobs.create({ model, training_file: file.id, suffix: "node", metadata: { by: "node" } });
got.job = await client.fineTuning.jobs.retrieve(job.id, { headers: { Prefer: "wait=20" } });
got.events = [];
for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 2 })) got.events.push(event.message);
got.checkpoints = (await client.fineTuning.jobs.checkpoints.list(job.id)).data.length;
got.found = (await client.fineTuning.jobs.list({ metadata: { by: "node" } })).data.map((one) => one.id);
got.results = await (await client.files.content(got.job.result_files[0])).text();

const asked = { model: got.job.fine_tuned_model, messages: [{ role: "user", content: "How do I bake bread?" }] };
got.whole = (await client.chat.completions.create(asked)).choices[0].message.content;
got.streamed = "";
for await (const piece of await client.chat.completions.create({ ...asked, stream: true })) {
  got.streamed += piece.choices[0]?.delta?.content ?? "";
}

got.errors = {};
for (const [name, call] of Object.entries({
  missing: () => client.files.retrieve("file-none"),
  ended: () => client.fineTuning.jobs.pause(job.id),
  key: () => new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list(),
})) {
  try {
    await call();
  } catch (error) {
    got.errors[name] = { kind: error.constructor.name, code: error.code, id: Boolean(error.requestID) };
  }
}
got.models = [];
for await (const one of client.models.list()) got.models.push(one.id);
got.deleted = (await client.models.delete(got.job.fine_tuned_model)).deleted;
console.log(JSON.stringify(got));
