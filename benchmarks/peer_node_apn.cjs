// node-apn against the sink: `node peer_node_apn.cjs FOLDER PORT CA KEY COUNT` prints one JSON line.
//
// FOLDER is where npm has put the package. Its pool of four clients is used, as many connections as everyone here gets,
// and two calls of 500 devices each are under way at once.
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');

const [folder, port, ca, key, count] = process.argv.slice(2);
const apn = createRequire(path.join(folder, 'package.json'))('@parse/node-apn');

const AT_ONCE = 500;

async function main() {
  const provider = new apn.MultiProvider({
    clientCount: 4,
    token: { key, keyId: 'KEY1234567', teamId: 'TEAM123456' },
    address: 'localhost',
    port: Number(port),
    ca: fs.readFileSync(ca),
    requestTimeout: 600000,
  });
  let next = 0;
  async function worker() {
    while (next < Number(count)) {
      const tokens = [];
      while (tokens.length < AT_ONCE && next < Number(count)) {
        tokens.push((next++).toString(16).padStart(64, '0'));
      }
      const notification = new apn.Notification({
        alert: { title: 'Hello', body: 'Your order is on its way.' },
        topic: 'com.example.shop',
        pushType: 'alert',
        priority: 10,
        expiry: Math.floor(Date.now() / 1000) + 86400,
      });
      const answer = await provider.send(notification, tokens);
      if (answer.failed.length) throw answer.failed[0].error || new Error(JSON.stringify(answer.failed[0]));
    }
  }
  const start = process.hrtime.bigint();
  const before = process.cpuUsage();
  await Promise.all([worker(), worker()]);
  const used = process.cpuUsage(before);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(JSON.stringify({ seconds, cpu: (used.user + used.system) / 1e6 }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
