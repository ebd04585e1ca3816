"""HTTP/2 of the stand-in, by the package h2: many requests at once on one connection, each with its own fate."""
import asyncio

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from http1 import MOST_BODY_BYTES, Request


class Answer2:
    def __init__(self, connection, stream):
        self.connection, self.stream, self.broken = connection, stream, False

    async def head(self, status, headers, size):
        lines = [(":status", str(status))] + [(name.lower(), str(value)) for name, value in headers]
        if size is not None:
            lines.append(("content-length", str(size)))
        self._alive()
        self.connection.h2.send_headers(self.stream, lines)
        await self.connection.flush()

    async def data(self, part):
        at = 0
        while at < len(part):
            self._alive()
            room = min(self.connection.h2.local_flow_control_window(self.stream), self.connection.h2.max_outbound_frame_size)
            if room <= 0:
                await self.connection.window_opened()
                continue
            self.connection.h2.send_data(self.stream, part[at:at + room])
            at += room
            await self.connection.flush()

    async def end(self):
        self._alive()
        self.connection.h2.end_stream(self.stream)
        await self.connection.flush()

    async def reset(self):
        """This stream alone is reset; the others of the connection go on."""
        self.broken = True
        self._alive()
        self.connection.h2.reset_stream(self.stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await self.connection.flush()

    async def close(self):
        """The whole connection goes away under all its requests."""
        self.broken = True
        self.connection.h2.close_connection(h2.errors.ErrorCodes.INTERNAL_ERROR)
        await self.connection.flush()
        self.connection.writer.close()

    async def gone(self):
        while self.stream in self.connection.open_streams and not self.connection.writer.transport.is_closing():
            await asyncio.sleep(0.02)

    def _alive(self):
        if self.stream not in self.connection.open_streams or self.connection.writer.transport.is_closing():
            raise ConnectionResetError("the client gave this stream up")


class Connection:
    def __init__(self, reader, writer, handle):
        self.reader, self.writer, self.handle = reader, writer, handle
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests = {}         # stream -> [headers, body], until the request is whole
        self.open_streams = set()  # streams the client still wants an answer on
        self.tasks = set()
        self.window = asyncio.Event()

    async def flush(self):
        out = self.h2.data_to_send()
        if out:
            self.writer.write(out)
            await self.writer.drain()

    async def window_opened(self):
        self.window.clear()
        await self.window.wait()

    async def run(self):
        try:
            self.h2.initiate_connection()
            await self.flush()
            while True:
                received = await self.reader.read(65536)
                if not received:
                    break
                for event in self.h2.receive_data(received):
                    self.take(event)
                await self.flush()
        except (ConnectionError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.open_streams.clear()
            self.window.set()
            self.writer.close()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = [dict(event.headers), b""]
            self.open_streams.add(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            request = self.requests.get(event.stream_id)
            if request is not None:
                request[1] += event.data
                if len(request[1]) > MOST_BODY_BYTES:
                    self.h2.reset_stream(event.stream_id)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = self.requests.pop(event.stream_id)
            request = Request(headers[":method"], headers[":path"], headers, body, "h2")
            task = asyncio.ensure_future(self.answer(request, event.stream_id))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif isinstance(event, h2.events.StreamReset):
            self.requests.pop(event.stream_id, None)
            self.open_streams.discard(event.stream_id)
            self.window.set()
        elif isinstance(event, h2.events.WindowUpdated):
            self.window.set()

    async def answer(self, request, stream):
        try:
            await self.handle(request, Answer2(self, stream))
        except (ConnectionError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.open_streams.discard(stream)


async def serve_connection(reader, writer, handle):
    await Connection(reader, writer, handle).run()
