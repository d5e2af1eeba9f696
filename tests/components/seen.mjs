// The same as seen.py, for Node.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [host, port] = process.argv[2].split(":");

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  let number = 0x811c9dc5;
  let length = 0;
  request.on("data", (data) => {
    length += data.length;
    for (const byte of data) number = Math.imul(number ^ byte, 0x01000193) >>> 0;
  });
  request.on("end", () => {
    const what = request.url.includes("/early/") ? "early" : `${length}-${number.toString(16).padStart(8, "0")}`;
    const probe = request.headers["x-probe"] ?? "";
    const seen = `${request.method} ${request.url} ${probe} ${what}`.replace(/[^\0-\x7f]/g, "?");
    appendFileSync(process.env.SEEN, `${seen}\n`);
    response.writeHead(200, { "x-seen": seen, "content-length": 5 });
    response.end("hello");
  });
});
server.listen(Number(port), host);
