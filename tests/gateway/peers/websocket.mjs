// `node websocket.mjs server` prints its port; `node websocket.mjs client URL TOKEN` prints what came of each exchange as JSON.
import { WebSocket, WebSocketServer } from "ws";

function serve() {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: true, maxPayload: 16 << 20 });
  server.on("listening", () => console.log(server.address().port));
  server.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => {
      const text = isBinary ? "" : data.toString();
      if (text === "close me") socket.close(4001, "as you wish");
      else socket.send(data, { binary: isBinary });
    });
    socket.on("close", (code, reason) => console.log(`closed ${code} ${reason}`));
  });
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

function open(url, token, options) {
  return new WebSocket(url, { headers: { authorization: `Bearer ${token}` }, ...options });
}

const closed = (socket) => new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, reason.toString()])));
const opened = (socket) => new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
const message = (socket) => new Promise((resolve) => socket.once("message", (data, isBinary) => resolve([data, isBinary])));

async function ask(url, token) {
  const found = {};
  for (const [name, perMessageDeflate] of [["plain", false], ["deflated", true]]) {
    const socket = open(url, token, { perMessageDeflate });
    await opened(socket);
    const sizes = [];
    for (const size of [0, 1, 125, 126, 65_536, 3 << 20]) {
      const sent = Buffer.alloc(size, "abc");
      socket.send(sent);
      const [data, isBinary] = await message(socket);
      sizes.push(isBinary && data.equals(sent) ? data.length : "different");
    }
    socket.send("text");
    const [text, isBinary] = await message(socket);
    const pong = new Promise((resolve) => socket.once("pong", (data) => resolve(data.toString())));
    socket.ping("are you there");
    const heard = await pong;
    const end = closed(socket);
    socket.close(4000, "done");
    found[name] = { sizes, text: isBinary ? null : text.toString(), pong: heard, extensions: socket.extensions, closed: await end };
  }
  const socket = open(url, token);
  await opened(socket);
  const end = closed(socket);
  socket.send("close me");
  found.server_closes = await end;
  const refused = open(url, "nonsense");
  found.refused = await new Promise((resolve) => refused.on("unexpected-response", (_, response) => resolve(response.statusCode)).on("error", () => {}));
  refused.terminate();
  console.log(JSON.stringify(found));
}

// Stays open and says how it ended.
async function stay(url, token) {
  const socket = open(url, token);
  await opened(socket);
  console.log("open");
  console.log(JSON.stringify(await closed(socket)));
}

const [, , role, url, token] = process.argv;
if (role === "server") serve();
else if (role === "stay") await stay(url, token);
else await ask(url, token);
