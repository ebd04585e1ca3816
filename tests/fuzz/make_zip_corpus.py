"""Makes tests/fuzz/corpus/fuzz_zip again, the same bytes each time: python tests/fuzz/make_zip_corpus.py

Archives as Python's zipfile writes them (packed, stored, zip64, with what macOS puts beside, several tables, none, gzip inside), and the
ways an archive lies: sizes and CRC in the directory, a size past what deflate can reach, a stream that goes on or ends early, members
that overlap, a directory that names more than it has, a name with control characters, a bomb of 1 MB in 1 kB.
"""
import gzip
import io
import pathlib
import struct
import zipfile

HERE = pathlib.Path(__file__).resolve().parent / "corpus" / "fuzz_zip"
CSV = b"id,text\n" + b"".join(b"%d,up we go $AAPL\n" % i for i in range(20))
LINES = b"".join(b'{"id":%d,"text":"down"}\n' % i for i in range(5))
DATE = (2026, 1, 1, 0, 0, 0)
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def archive(*members, method=zipfile.ZIP_DEFLATED, wide=False, comment=b""):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.comment = comment
        for name, content in members:
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type = method
            with file.open(info, "w", force_zip64=wide) as into:
                into.write(content)
    return out.getvalue()


def streamed(name, content):
    """Written to what can not seek: sizes stand behind the member and in the directory only."""
    class Pipe(io.RawIOBase):
        def __init__(self):
            super().__init__()
            self.got = bytearray()

        def writable(self):
            return True

        def write(self, piece):
            self.got += piece
            return len(piece)
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
    return bytes(pipe.got)


def changed(content, mark, offset, fmt, value):
    """The field at offset behind the last `mark`, set."""
    out = bytearray(content)
    struct.pack_into("<" + fmt, out, content.rindex(mark) + offset, value)
    return bytes(out)


def inputs():
    one = archive(("rows.csv", CSV))
    stored = archive(("rows.csv", CSV), method=zipfile.ZIP_STORED)
    bomb = archive(("rows.csv", b"\0" * (1 << 20)))
    yield "packed", one
    yield "stored", stored
    yield "wide", archive(("rows.csv", CSV), wide=True)
    yield "streamed", streamed("rows.jsonl", LINES)
    yield "comment", archive(("rows.csv", CSV), comment=b"PK\x05\x06 and more")
    yield "empty-table", archive(("rows.csv", b""))
    yield "beside", archive(("folder/", b""), ("__MACOSX/folder/._rows.csv", b"\0"), ("folder/.hidden.csv", b"x"), ("read.me", b"x"), ("folder/rows.jsonl", LINES))
    yield "gzip-inside", archive(("rows.csv.gz", gzip.compress(CSV, mtime=0)))
    yield "several", archive(("a.csv", CSV), ("b.csv", CSV))
    yield "none", archive(("rows.xls", CSV))
    yield "no-member", archive()
    yield "name", archive(("\x1b[2J\r\n.csv", CSV))
    yield "utf16", archive(("rows.csv", "id,text\n1,up\n".encode("utf-16")))
    yield "bzip2", archive(("rows.csv", CSV), method=zipfile.ZIP_BZIP2)
    yield "encrypted", changed(changed(one, CENTRAL, 8, "H", 1), LOCAL, 6, "H", 1)
    yield "bomb", bomb
    yield "bomb-says-little", changed(bomb, CENTRAL, 24, "I", 100)
    yield "bomb-says-much", changed(bomb, CENTRAL, 24, "I", 0xFFFFFFFE)
    yield "size-less", changed(one, CENTRAL, 24, "I", len(CSV) - 1)
    yield "size-more", changed(one, CENTRAL, 24, "I", len(CSV) + 1)
    yield "size-past-deflate", changed(one, CENTRAL, 24, "I", 0x7FFFFFFF)
    yield "size-stored-more", changed(stored, CENTRAL, 24, "I", 0x7FFFFFFF)
    yield "packed-less", changed(one, CENTRAL, 20, "I", 9)
    yield "packed-more", changed(one, CENTRAL, 20, "I", 0x7FFFFFFF)
    yield "crc", changed(one, CENTRAL, 16, "I", 1)
    yield "zip64-without-extra", changed(one, CENTRAL, 24, "I", 0xFFFFFFFF)
    yield "local-at-end", changed(one, CENTRAL, 42, "I", len(one) - 4)
    yield "local-at-directory", changed(one, CENTRAL, 42, "I", one.rindex(CENTRAL))
    yield "members-more", changed(one, END, 10, "H", 0xFFFE)
    yield "members-zip64", changed(one, END, 10, "H", 0xFFFF)
    yield "directory-past-end", changed(one, END, 16, "I", len(one))
    yield "cut", one[:len(one) // 2]
    yield "head", one[:40]
    at = one.index(b"rows.csv") + 60
    yield "stream-spoilt", one[:at] + bytes(255 - byte for byte in one[at:at + 4]) + one[at + 4:]


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    for name, content in inputs():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
