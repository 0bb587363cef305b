// A client of its own process that listens to streams, one after the other, and tells on request the longest silence since
// the last request. Arguments: the server's URL, its token, an input as JSON.
import { setTimeout as sleep } from "node:timers/promises";

const [url, token, input] = process.argv.slice(2);
let [last, longest, lost] = [performance.now(), 0, 0];

function heard() {
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
}

process.on("message", () => {
  longest = Math.max(longest, performance.now() - last);
  process.send({ longest, lost });
  [last, longest, lost] = [performance.now(), 0, 0];
});
process.on("disconnect", () => process.exit());

const headers = {
  "content-type": "application/json",
  accept: "text/event-stream",
  authorization: `Bearer ${token}`,
};
for (;;) {
  try {
    const answer = await fetch(`${url}/predictions`, {
      method: "POST",
      headers,
      body: JSON.stringify({ input: JSON.parse(input) }),
    });
    if (answer.status !== 200) throw new Error(await answer.text());
    let text = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      heard();
      text = (text + chunk).slice(-500);
    }
    if (!text.includes('"succeeded"')) throw new Error(text);
  } catch {
    lost += 1;
    await sleep(20);
  }
}
