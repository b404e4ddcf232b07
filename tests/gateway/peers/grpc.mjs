// `node grpc.mjs server` prints its port; `node grpc.mjs client HOST:PORT TOKEN` prints what came of each call as JSON.
import grpc from "@grpc/grpc-js";

const bytes = { serialize: (value) => value, deserialize: (value) => value };
const method = (name, requestStream, responseStream) => ({
  path: `/demo.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes.serialize,
  requestDeserialize: bytes.deserialize,
  responseSerialize: bytes.serialize,
  responseDeserialize: bytes.deserialize,
});
const service = {
  unary: method("Unary", false, false),
  count: method("Count", false, true),
  talk: method("Talk", true, true),
  fail: method("Fail", false, false),
  hang: method("Hang", false, false),
};

function serve() {
  const server = new grpc.Server();
  server.addService(service, {
    unary: (call, done) => {
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer", "at-the-end");
      done(null, call.request, trailers);
    },
    // Each message waits for nothing but the one before: a gateway that collects them would still pass them on, only late.
    count: (call) => {
      let sent = 0;
      const next = () => {
        call.write(Buffer.from(String(sent)));
        sent += 1;
        if (sent < 5) setTimeout(next, 50);
        else call.end();
      };
      next();
    },
    talk: (call) => {
      call.on("data", (message) => call.write(message));
      call.on("end", () => call.end());
    },
    fail: (call, done) => done({ code: grpc.status.FAILED_PRECONDITION, details: "not now" }),
    hang: () => {},
  });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(port);
  });
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

async function ask(address, token) {
  const Client = grpc.makeGenericClientConstructor(service, "demo.Echo");
  const client = new Client(address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const options = () => ({ deadline: Date.now() + 10_000 });
  const one = (name, given) =>
    new Promise((resolve) => {
      const found = {};
      const call = client[name](Buffer.from("hello"), metadata, given ?? options(), (error, reply) => {
        found.code = error ? error.code : 0;
        found.details = error?.details;
        found.reply = reply?.toString();
      });
      call.on("status", (status) => resolve({ ...found, trailer: status.metadata.get("x-trailer")[0] }));
    });

  const unary = await one("unary");
  const count = await new Promise((resolve) => {
    const arrived = [];
    const call = client.count(Buffer.alloc(0), metadata, options());
    call.on("data", (message) => arrived.push([message.toString(), Date.now()]));
    call.on("error", () => {});
    call.on("status", (status) => resolve({
      code: status.code,
      messages: arrived.map(([text]) => text),
      spread: arrived.length > 1 ? arrived.at(-1)[1] - arrived[0][1] : 0,
    }));
  });
  const talk = await new Promise((resolve) => {
    const heard = [];
    const call = client.talk(metadata, options());
    call.on("data", (message) => {
      heard.push(message.length);
      // The next question is asked only after the answer to the one before.
      if (heard.length < 4) call.write(Buffer.alloc(heard.length * 40_000));
      else call.end();
    });
    call.on("error", () => {});
    call.on("status", (status) => resolve({ code: status.code, heard }));
    call.write(Buffer.alloc(1));
  });
  const fail = await one("fail");
  const hang = await one("hang", { deadline: Date.now() + 700 });
  console.log(JSON.stringify({ unary, count, talk, fail, hang }));
  client.close();
}

const [, , role, address, token] = process.argv;
if (role === "server") serve();
else await ask(address, token);
