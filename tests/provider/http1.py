"""HTTP/1.1 of the stand-in: requests read from an asyncio stream, answers that can break off anywhere."""
import asyncio
import http
import socket
import struct

MOST_HEADER_BYTES = 64 << 10
MOST_BODY_BYTES = 64 << 20


class Request:
    """method, path, headers (lower-case names) and body, and through `protocol` what it came over."""

    def __init__(self, method, path, headers, body, protocol):
        self.method, self.path, self.headers, self.body, self.protocol = method, path, headers, body, protocol


class BadRequest(Exception):
    pass


class Answer1:
    """How an answer goes out. Everything a provider can do wrong on the wire has a method of its own."""

    def __init__(self, reader, writer, keep_alive):
        self.reader, self.writer, self.keep_alive, self.broken, self.chunked = reader, writer, keep_alive, False, False

    async def head(self, status, headers, size):
        """size: the Content-Length told, or None for a chunked body."""
        if self.hung_up():
            raise ConnectionResetError("the client hung up")
        self.chunked = size is None
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else 'Unknown'}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append("Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}")
        if not self.keep_alive:
            lines.append("Connection: close")
        self.writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        await self.writer.drain()

    async def data(self, part):
        if self.chunked:
            part = b"%x\r\n%s\r\n" % (len(part), part)
        self.writer.write(part)
        await self.writer.drain()

    async def end(self):
        if self.chunked:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def reset(self):
        """The connection ends with an RST: what the client has not read yet is lost."""
        self.broken = True
        await self.writer.drain()
        plain = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self):
        """The connection ends in order, though the body may be shorter than told."""
        self.broken = True
        self.writer.close()

    def hung_up(self):
        return self.reader.at_eof() or self.writer.transport.is_closing()

    async def gone(self):
        """Returns once the client has hung up."""
        while not self.hung_up():
            await asyncio.sleep(0.02)


async def _read_body(reader, writer, headers):
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0].strip() or b"0", 16)
            if len(body) + size > MOST_BODY_BYTES:
                raise BadRequest("the body is too large")
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= MOST_BODY_BYTES:
        raise BadRequest("the body is too large")
    return await reader.readexactly(size)


async def serve_connection(reader, writer, handle, over_tls):
    """handle(request, answer) for each request of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            words = lines[0].split(" ")
            if len(words) != 3 or not words[2].startswith("HTTP/1."):
                raise BadRequest("the request line is not one")
            headers = {}
            for line in lines[1:-2]:
                name, colon, value = line.partition(":")
                if not colon:
                    raise BadRequest("a header has no colon")
                headers[name.strip().lower()] = value.strip()
            body = await _read_body(reader, writer, headers)
            keep = headers.get("connection", "").lower() != "close" and words[2] == "HTTP/1.1"
            answer = Answer1(reader, writer, keep)
            await handle(Request(words[0], words[1], headers, body, "http/1.1" + (" over TLS" if over_tls else "")), answer)
            if answer.broken or not keep:
                break
    except (BadRequest, ValueError, asyncio.LimitOverrunError) as problem:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(str(problem)), str(problem).encode()))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
