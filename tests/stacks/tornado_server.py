"""A WebSocket of Tornado's as its documentation begins, with its own check of `Origin`. It prints its port."""

import asyncio
import sys

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        user = self.request.headers.get("X-Internal-User-Id")
        self.write_message(f"{user} says {message}")


class Redirect(tornado.web.RequestHandler):
    def get(self):
        self.redirect(f"{self.request.protocol}://{self.request.host}/there")


async def main():
    [socket] = tornado.netutil.bind_sockets(0, "127.0.0.1")
    application = tornado.web.Application([("/ws", Echo), ("/here", Redirect)])
    tornado.httpserver.HTTPServer(application, xheaders=True).add_sockets([socket])
    print(socket.getsockname()[1], flush=True)
    # It ends when the test lets go of it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
