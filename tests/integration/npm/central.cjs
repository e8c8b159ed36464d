// A central system of ocpp-rpc for the tests: tells what it gets on standard output and makes the calls that it is
// told to on standard input, one JSON object a line. Options are its first argument.
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const readline = require("node:readline");
const { RPCServer } = require("ocpp-rpc");

const options = JSON.parse(process.argv[2]);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const NOON = "2026-01-31T12:00:00Z";
const accepted = { status: "Accepted" };
const answers = {
    Authorize: { idTagInfo: accepted },
    BootNotification: { status: "Accepted", currentTime: NOON, interval: 77 },
    Heartbeat: { currentTime: NOON },
    StartTransaction: { idTagInfo: accepted, transactionId: 1000001 },
};
const clients = new Map();

const rpc = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true });
rpc.auth((accept, reject, handshake) => {
    const password = handshake.password?.toString("utf8") ?? "";
    say({ kind: "handshake", identity: handshake.identity, user: handshake.headers.authorization ? true : false });
    if (options.password && password !== options.password) {
        reject(401, "wrong password");
    } else {
        accept({});
    }
});
rpc.on("client", (client) => {
    clients.set(client.identity, client);
    say({ kind: "client", identity: client.identity, protocol: client.protocol });
    client.handle(({ method, params }) => {
        say({ kind: "call", identity: client.identity, action: method, payload: params });
        return answers[method] ?? {};
    });
    client.on("strictValidationFailure", ({ error }) => say({ kind: "violation", text: String(error) }));
    client.on("close", ({ code, reason }) => say({ kind: "close", identity: client.identity, code, reason }));
});

const read = (name) => (options[name] ? fs.readFileSync(options[name]) : undefined);
const server = options.cert
    ? https.createServer({
          cert: read("cert"), key: read("key"), ca: read("ca"),
          requestCert: Boolean(options.ca), rejectUnauthorized: Boolean(options.ca),
      })
    : http.createServer();
server.on("upgrade", rpc.handleUpgrade);
server.listen(0, "127.0.0.1", () => say({ kind: "listening", port: server.address().port }));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const { identity, action, payload } = JSON.parse(line);
    try {
        say({ kind: "answer", result: await clients.get(identity).call(action, payload) });
    } catch (error) {
        say({ kind: "answer", error: String(error) });
    }
});
