// Asks one question with OpenAI's own client, whole and streamed, and prints what it got as JSON.
// BASE_URL, KEY, MODEL and QUESTION stand in the environment.
import OpenAI from "openai";

const { BASE_URL, KEY, MODEL, QUESTION } = process.env;
const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 600_000 });
const asked = { model: MODEL, messages: [{ role: "user", content: QUESTION }], temperature: 0, max_tokens: 24 };

const whole = await client.chat.completions.create(asked);
const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
let streamed = "", pieces = 0, usage = null;
for await (const event of stream) {
  streamed += event.choices[0]?.delta?.content ?? "";
  pieces += 1;
  usage = event.usage ?? usage;
}
const refused = await client.chat.completions.create({ ...asked, prompt_logprobs: 1 }).catch((error) => error.code);
const models = (await client.models.list()).data.map((model) => model.id);
console.log(JSON.stringify({
  whole: whole.choices[0].message.content, usage: whole.usage, streamed, pieces, streamed_usage: usage, refused, models,
}));
