// The server of tus, and on another origin a page that uploads with tus-js-client. It prints both ports.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const folder = mkdtempSync(join(tmpdir(), "realchat-tus-"));
// It ends when the test lets go of it.
process.stdin.resume().on("end", () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});

const tus = new Server({
  path: "/files",
  datastore: new FileStore({ directory: folder }),
  respectForwardedHeaders: true,
});

const client = readFileSync(new URL("node_modules/tus-js-client/dist/tus.min.js", import.meta.url));
const html = `<!doctype html><title>tus</title><p id="state">ready</p><script src="/tus.js"></script><script>
const state = (text) => (document.getElementById("state").textContent = text);
// Stops after the first chunk, and goes on from what the server says it has.
function upload(endpoint, token, size) {
  let stopped = false;
  const upload = new tus.Upload(new Blob(["x".repeat(size)]), {
    endpoint,
    chunkSize: size / 4,
    retryDelays: null,
    removeFingerprintOnSuccess: true,
    headers: { Authorization: "Bearer " + token },
    metadata: { filename: "x.txt" },
    onError: (error) => state("failed: " + error.message),
    onSuccess: () => state("done " + (stopped ? "in two parts " : "") + upload.url),
    onChunkComplete: async () => {
      if (stopped) return;
      stopped = true;
      await upload.abort();
      upload.start();
    },
  });
  upload.start();
}
</script>`;
const page = createServer((request, response) => {
  const [type, body] = request.url === "/tus.js" ? ["text/javascript", client] : ["text/html", html];
  response.writeHead(200, { "Content-Type": type }).end(body);
});

const files = createServer(tus.handle.bind(tus));
files.listen(0, "127.0.0.1", () =>
  page.listen(0, "127.0.0.1", () => console.log(files.address().port, page.address().port)),
);
