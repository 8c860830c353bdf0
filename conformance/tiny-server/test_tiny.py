"""Checks of the small server: `python3 -m unittest` in this folder."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import messages
from document import Document
from protocol import LIMITS, Refusal
from resync import runs, write_resync
from sequence import ROOT, Del, Edit, Id, Ins, Sequence
from strict_json import parse

HERE = Path(__file__).parent


def linear(edits: list[Edit]) -> str:
    """The linear rule of section 5, for insertions before deletions: another way to the same text."""
    order: list[Id] = []
    chars: dict[Id, str] = {}
    gone: set[Id] = set()
    for edit in edits:
        if isinstance(edit, Del):
            gone.update(single.id for single in edit.elementary())
            continue
        for single in edit.elementary():
            place = 0 if single.parent == ROOT else order.index(single.parent) + 1
            while place < len(order) and (-order[place][0], order[place][1]) < (-single.id[0], single.id[1]):
                place += 1
            order.insert(place, single.id)
            chars[single.id] = single.value
    return "".join(chars[id] for id in order if id not in gone)


def random_history(rng: random.Random, length: int) -> list[Edit]:
    """Edits of three replicas that see different things, so that there are concurrent siblings."""
    views: list[list[Edit]] = [[], [], []]
    history: list[Edit] = []
    for _ in range(length):
        who = rng.randrange(3)
        view = views[who]
        ids = [single.id for edit in view if isinstance(edit, Ins) for single in edit.elementary()]
        edit: Edit
        if ids and rng.random() < 0.25:
            edit = Del(rng.choice(ids))
        else:
            lamport = 1 + max([id[0] for id in ids], default=0)
            value = "".join(rng.choices("abcdef", k=rng.randint(1, 4)))
            edit = Ins(rng.choice([ROOT, *ids]), (lamport, "xyz"[who]), value)
        view.append(edit)
        history.append(edit)
        if rng.random() < 0.5:  # somebody hears of everything so far
            views[rng.randrange(3)] = list(history)
    return history


class SequenceTest(unittest.TestCase):
    def test_siblings_newest_first_then_the_smaller_replica(self) -> None:
        sequence = Sequence()
        for char, id in (("A", (1, "a")), ("B", (1, "b")), ("C", (2, "a"))):
            sequence.apply("", [Ins(ROOT, id, char)])
        self.assertEqual(sequence.text(), "CAB")  # DEV-1

    def test_replicas_are_compared_by_bytes(self) -> None:
        sequence = Sequence()
        # In UTF-16 the first one would be the larger one.
        sequence.apply("", [Ins(ROOT, (1, "\uffee"), "1"), Ins(ROOT, (1, "\U0001f600"), "2")])
        self.assertEqual(sequence.text(), "12")

    def test_any_order_and_repetition_of_delivery(self) -> None:
        for seed in range(100):
            rng = random.Random(seed)
            history = random_history(rng, 30)
            expected = linear(history)
            for _ in range(5):
                delivered = history + rng.choices(history, k=5)
                rng.shuffle(delivered)
                sequence = Sequence()
                for edit in delivered:
                    sequence.apply("", [edit])
                self.assertEqual(sequence.text(), expected, f"seed {seed}")
                self.assertEqual(sequence.waiting, [])

    def test_runs_hold_every_element(self) -> None:
        rng = random.Random(1)
        sequence = Sequence()
        sequence.apply("", random_history(rng, 100))
        found = []
        for (lamport, replica), content in runs(sequence):
            chars = content if isinstance(content, str) else [None] * content
            found += [((lamport + index, replica), char) for index, char in enumerate(chars)]
        expected = [(id, None if element.deleted else element.char) for id, element in sequence.walk()]
        self.assertEqual(found, expected)

    def test_parts_of_a_resync_are_short_enough(self) -> None:
        document = Document("notes")
        long = Ins(ROOT, (1, "a" * 128), "\x01\U0001f600" * 5000)
        document.sequence.apply("", [long, *random_history(random.Random(1), 100)])
        with mock.patch.dict(LIMITS, {"message_bytes_max": 3000}):
            parts = write_resync(document)
        self.assertGreater(len(parts), 10)
        self.assertLessEqual(max(len(part.encode()) for part in parts), 3000)
        states = [json.loads(part)["state"] for part in parts]
        text = "".join(run[2] for state in states for run in state["runs"] if isinstance(run[2], str))
        self.assertEqual(text, document.sequence.text())


class MessagesTest(unittest.TestCase):
    def test_json(self) -> None:
        deepest = '{"a":' + "[" * 15 + "]" * 15 + "}"
        for text in ('{"a":1}', ' {"a":1}\n', '{"a":-1.5e3}', '{"a":"\\ud83d\\ude00"}', deepest):
            parse(text)
        bad = ["", "[]", "1", "\ufeff{}", "{} x", '{"a":1,"\\u0061":2}', '{"b":[{"a":1,"a":1}]}', '{"a":1e400}']
        bad += ['{"a":NaN}', '{"a":"\\ud83d"}', '{"\\ud83d":1}', '{"a":' + "[" * 16 + "]" * 16 + "}", "[" * 100000]
        bad += [json.dumps({str(i): 0 for i in range(65)}), '{"a":"\t"}', '{"a":01}', '{"a":1' + "0" * 5000 + "}"]
        for text in bad:
            with self.assertRaises(Refusal, msg=text[:80]):
                parse(text)

    def test_integers(self) -> None:
        for text in ("0", "9007199254740991"):
            self.assertEqual(messages.field(parse(f'{{"n":{text}}}'), "n", messages.number), int(text))
        for text in ("1.0", "1e3", "-0", "-1", "9007199254740992", "true", "null", '"1"', "[]"):
            with self.assertRaises(Refusal, msg=text):
                messages.field(parse(f'{{"n":{text}}}'), "n", messages.number)

    def test_names(self) -> None:
        for text in ("a", "A.b_c~d:e@f-9", "x" * 128, "..."):
            messages.document_name(text)
        for text in ("", ".", "..", "a/b", "ä", "x" * 129, "a\n"):
            with self.assertRaises(Refusal, msg=text):
                messages.document_name(text)
        for text in ("", "root", "a\x7f", "a\n", "\x85", "ä" * 65):
            with self.assertRaises(Refusal, msg=text):
                messages.client(text)
        ids: list[Any] = [[0, "x"], [1, "root"], [1], [True, "x"], [1, "x", 2], [0.0, "root"], {}]
        for value in ids:
            with self.assertRaises(Refusal, msg=str(value)):
                messages.parent_id(value)


class Client:
    """A client of one's own: masked frames over a plain socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
        writer.write("\r\n".join(lines).encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    def frame(self, first_byte: int, payload: bytes) -> None:
        size, mask = len(payload), os.urandom(4)
        head = bytes([first_byte])
        head += bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        self.writer.write(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def send(self, message: Any) -> None:
        self.frame(0x81, json.dumps(message).encode())

    async def receive(self) -> tuple[int, bytes]:
        opcode, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        return opcode & 0x0F, await self.reader.readexactly(size)

    async def message(self) -> dict[str, Any]:
        opcode, payload = await self.receive()
        assert opcode == 1, (opcode, payload)
        message: dict[str, Any] = json.loads(payload)
        return message

    async def closed(self) -> tuple[int, str]:
        opcode, payload = await self.receive()
        assert opcode == 8, (opcode, payload)
        assert await self.reader.read() == b""
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def hello(client: str, **more: Any) -> dict[str, Any]:
    base = {"type": "hello", "doc_id": "notes", "client_id": client, "client_secret": "s" * 16, "attempt": 1}
    return {**base, "protocol": {"min": 1, "max": 2}, **more}


def op(client: str, client_msg_id: int, op: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"type": "op", "doc_id": "notes", "client_id": client, "client_msg_id": client_msg_id}
    return {**base, "answered": 0, "epoch": 0, "seen": 0, "op": op, **more}


class SocketTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        command = [sys.executable, "-u", str(HERE / "server.py")]
        self.server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self.server.stdout
        line = await asyncio.wait_for(self.server.stdout.readline(), 10)
        self.port = int(line.decode().rsplit(":", 1)[1].removesuffix("/ws\n"))
        self.addAsyncCleanup(self.stop)  # behind the connections, which are cleaned up before

    async def connect(self) -> Client:
        client = await Client.connect(self.port)
        self.addCleanup(client.writer.close)
        return client

    async def stop(self) -> None:
        self.server.terminate()
        await asyncio.wait_for(self.server.wait(), 10)
        self.server._transport.close()  # type: ignore[attr-defined]

    async def test_a_session_of_both_versions(self) -> None:
        alice, bob = "alice-0123456789", "bob"
        a = await self.connect()
        a.send(hello(alice))
        ack = await a.message()
        self.assertEqual((ack["server_seq"], ack["last"], ack["follows"], "term" in ack), (0, 0, "nothing", False))
        insert = {"type": "ins", "parent_id": [0, "root"], "id": [1, alice], "value": "héllo"}
        a.send(op(alice, 1, insert))
        echo = await a.message()
        term = echo.pop("term")
        self.assertEqual(
            echo,
            {
                "type": "op_echo",
                "doc_id": "notes",
                "server_seq": 5,
                "origin_client_id": alice,
                "client_msg_id": 1,
                "op": insert,
                "count": 5,
            },
        )
        b = await self.connect()
        b.send({"type": "hello", "doc_id": "notes", "client_id": bob, "last_seen_server_seq": 3})
        self.assertEqual(await b.message(), {"type": "hello_ack", "doc_id": "notes", "server_seq": 5})
        self.assertEqual((await b.message())["client_msg_id"], "1#4")
        self.assertEqual((await b.message())["op"]["id"], [5, alice])
        delete = {"type": "del", "id": [3, alice]}
        b.send({"type": "op", "doc_id": "notes", "client_id": bob, "client_msg_id": "m", "op": delete})
        self.assertEqual((await b.message())["server_seq"], 6)
        self.assertEqual((await a.message())["op"], delete)
        a.send(op(alice, 1, insert))
        ack = {"type": "ack", "doc_id": "notes", "client_msg_id": 1, "server_seq": 5, "count": 5}
        self.assertEqual(await a.message(), ack)
        a.send({"type": "sync", "nonce": 7})
        self.assertEqual((await a.message())["server_seq"], 6)

        c = await self.connect()
        c.send(hello("carol-0123456789", resync=True))
        self.assertEqual((await c.message())["follows"], "resync")
        resync = await c.message()
        self.assertEqual((resync["term"], resync["part"], resync["parts"]), (term, 1, 1))
        self.assertEqual(resync["state"]["runs"], [[1, 0, "hé"], [3, 0, 1], [4, 0, "lo"]])
        a2 = await self.connect()
        a2.send(hello("alice-2-23456789", replaces={"client_id": alice, "client_secret": "s" * 16}))
        self.assertEqual((await a2.message())["replaced_last"], 1)
        self.assertEqual(await a.closed(), (4001, "taken_over"))
        self.assertEqual((await c.message())["op"], {"type": "retire", "client_id": alice})
        self.assertEqual((await b.message())["full_text"], "hélo")
        unknown = {"type": "del", "id": [9, alice]}
        b.send({"type": "op", "doc_id": "notes", "client_id": bob, "client_msg_id": "m", "op": unknown})
        self.assertEqual(await b.closed(), (1008, "unknown_reference"))

    async def test_refusals(self) -> None:
        first = hello("alice-0123456789")
        for message, frames, close in (
            ({"type": "sync", "nonce": 1}, 0, (1002, "hello_expected")),
            (hello("short"), 0, (1002, "malformed")),
            ({"type": "op"}, 0, (1002, "malformed")),
            (hello("alice-0123456789", protocol={"min": 3, "max": 4}), 0, (1002, "unsupported_version")),
            (hello("alice-0123456789", last_seen_server_seq=1, term="0" * 32), 1, (1008, "unknown_term")),
        ):
            a = await self.connect()
            a.send(message)
            for _ in range(frames):
                self.assertEqual((await a.message())["code"], close[1])
            self.assertEqual(await a.closed(), close)
        for first_byte, payload, close in (
            (0x82, b"x", (1003, "binary_frame")),
            (0x81, b"\xff", (1007, "invalid_utf8")),
            (0x85, b"", (1002, "invalid_frame")),
        ):
            a = await self.connect()
            a.send(first)
            await a.message()
            a.frame(0x89, b"ping")
            self.assertEqual(await a.receive(), (10, b"ping"))
            a.frame(first_byte, payload)
            if first_byte == 0x82:
                self.assertEqual((await a.message())["code"], "binary_frame")
            self.assertEqual(await a.closed(), close)


if __name__ == "__main__":
    unittest.main()
