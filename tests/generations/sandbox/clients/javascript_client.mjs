// The stock JavaScript client through `proxyUrl`; prints what it saw as one JSON object.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, baseUrl, picture] = process.argv.slice(2);
const { createFalClient } = createRequire(`${modules}/`)("@fal-ai/client");
const fal = createFalClient({
  credentials: "test:key",
  proxyUrl: { url: `${baseUrl}/proxy`, when: "always" },
});
const TEXT = "fal-ai/minimax/hailuo-2.3/pro/text-to-video";
const PICTURE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video";

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return { status: error.status, name: error.constructor.name, body: error.body };
  }
  return {};
}

const seen = { updates: [] };
const blob = new Blob([readFileSync(picture)], { type: "image/png" });
seen.upload = await fal.storage.upload(blob);
seen.subscribed = await fal.subscribe(PICTURE, {
  input: { prompt: "A fox", image_url: seen.upload },
  logs: true,
  pollInterval: 50,
  onQueueUpdate: (update) => seen.updates.push(update.status),
});
// Long enough to be seen in the queue by a machine that is busy.
const slowly = { prompt: "A fox [[sandbox: seconds=4]]" };
const { request_id: requestId } = await fal.queue.submit(TEXT, { input: slowly });
seen.first = (await fal.queue.status(TEXT, { requestId, logs: true })).status;
seen.streamed = [];
const stream = await fal.queue.streamStatus(TEXT, { requestId, logs: true });
for await (const event of stream) seen.streamed.push(event.status);
seen.result = await fal.queue.result(TEXT, { requestId });
const stuck = await fal.queue.submit(TEXT, { input: { prompt: "[[sandbox: stuck=queue]]" } });
await fal.queue.cancel(TEXT, { requestId: stuck.request_id });
seen.cancelled = await refused(fal.queue.result(TEXT, { requestId: stuck.request_id }));
const prompt = "[[sandbox: run=422:image_too_small]]";
seen.refused = await refused(fal.subscribe(TEXT, { input: { prompt }, pollInterval: 50 }));
seen.locked = await refused(fal.queue.submit(TEXT, { input: { prompt: "[[sandbox: locked]]" } }));
console.log(JSON.stringify(seen));
