// Socket.IO's client with its defaults: it polls, then goes over to a WebSocket. It prints one line of JSON for each thing
// that happens, and ends.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const tell = (what) => console.log(JSON.stringify(what));
const end = (what) => {
  tell(what);
  process.exit(0);
};

const socket = io(url, { query: { token }, reconnection: false });
socket.on("connect_error", (error) => end({ error: error.message, status: error.context?.status }));
socket.io.on("open", () => tell({ opened: socket.io.engine.transport.name }));
socket.on("connect", async () => {
  const { engine } = socket.io;
  const upgraded = new Promise((resolve) => engine.once("upgrade", resolve));
  // It goes over whenever both sides are ready: these travel in polls or over the WebSocket.
  for (let n = 0; n < 5; n++) tell(await socket.emitWithAck("say", `message ${n}`));
  if (engine.transport.name !== "websocket") await upgraded;
  tell({ upgraded: engine.transport.name });
  tell(await socket.emitWithAck("say", "over the socket"));
  end({ over: true });
});
