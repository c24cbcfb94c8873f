// A Socket.IO server as its documentation begins: it says where it listens, and to each client whom it sees.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  const seen = () => ({
    user: socket.handshake.headers["x-internal-user-id"],
    token: socket.handshake.query.token,
    transport: socket.conn.transport.name,
  });
  socket.on("say", (text, answer) => answer({ text, ...seen() }));
});

http.listen(0, "127.0.0.1", () => console.log(http.address().port));
