"""A program on a terminal of its own, for tests: keys go in, the screen can be looked at, and any escape sequence that this
terminal does not know is an error, so hostile text that got through shows."""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

KNOWN = re.compile(rb"\x1b\[(?:(\d+);(\d+)H|(H)|(K)|(J)|([0-9;]*)m|\?(?:1049|25|2004|2026)([hl]))")


class Screen:
    """Runs words on a pseudo-terminal. text() is what the screen shows, row by row; raw all bytes that came."""

    def __init__(self, words, rows=24, columns=80, env=None):
        self.rows, self.columns = rows, columns
        self.raw, self.taken, self.strange = b"", 0, []
        self.clear()
        self.controller, terminal = os.openpty()
        self.terminal = terminal
        self.resize(rows, columns)
        self.before = termios.tcgetattr(terminal)
        self.process = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
                                        start_new_session=True)

    def clear(self):
        self.cells, self.row, self.column = [[" "] * 200 for _ in range(100)], 0, 0

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def pump(self, seconds=0.0):
        """Takes what came, waiting for so long for the first of it."""
        while select.select([self.controller], [], [], seconds)[0]:
            try:
                data = os.read(self.controller, 65536)
            except OSError:
                data = b""
            if not data:
                return
            self.raw += data
            seconds = 0.0
        self.draw()

    def draw(self):
        while self.taken < len(self.raw):
            rest = self.raw[self.taken:]
            if rest[:1] == b"\x1b":
                found = KNOWN.match(rest)
                if found is None:
                    if len(rest) < 12:
                        return  # the rest of it is still to come
                    self.strange.append(rest[:12])
                    self.taken += 1
                    continue
                self.steer(found)
                self.taken += found.end()
                continue
            size = 1 if rest[0] < 0x80 else 2 if rest[0] < 0xe0 else 3 if rest[0] < 0xf0 else 4
            if len(rest) < size:
                return
            self.put(rest[:size].decode("utf-8", "replace"))
            self.taken += size

    def steer(self, found):
        row, column, home, line, below = found.group(1, 2, 3, 4, 5)
        if row or home:
            self.row, self.column = (int(row) - 1, int(column) - 1) if row else (0, 0)
        elif line:
            self.cells[self.row][self.column:] = [" "] * (200 - self.column)
        elif below:
            self.cells[self.row][self.column:] = [" "] * (200 - self.column)
            for at in range(self.row + 1, 100):
                self.cells[at] = [" "] * 200

    def put(self, character):
        if character in "\r\n":
            self.column = 0
            self.row += character == "\n"
            return
        if unicodedata.category(character) in ("Cc", "Cf"):
            self.strange.append(character.encode())
            return
        if unicodedata.combining(character) or character in "\ufe0f\ufe0e":
            return
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + width > self.columns or self.row >= self.rows:
            self.strange.append(f"{character!r} outside at {self.row + 1},{self.column + 1}".encode())
        self.cells[min(self.row, 99)][min(self.column, 199)] = character
        if width == 2:
            self.cells[min(self.row, 99)][min(self.column + 1, 199)] = ""
        self.column += width

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells[:self.rows])

    def wait(self, wanted, seconds=10):
        """The match of a pattern on the screen, once it is there."""
        end = time.monotonic() + seconds
        while True:
            self.pump(0.05)
            found = re.search(wanted, self.text())
            if found:
                return found
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{wanted!r} never came up (exit {self.process.poll()}, {self.errors() if self.process.poll() is not None else ''}):\n{self.text()}")

    def key(self, keys):
        os.write(self.controller, keys if isinstance(keys, bytes) else keys.encode())

    def errors(self):
        return self.process.stderr.read().decode("utf-8", "replace")

    def end(self, seconds=10):
        """The exit status; everything that came by then is drawn."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.pump(0.05)
        status = self.process.wait(1)
        self.pump(0.05)
        return status

    def settings(self):
        return termios.tcgetattr(self.terminal)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.controller)
        os.close(self.terminal)
