"""The API beside destinations that hang, refuse, reset and answer 500, in interleaved rounds; then all of them are well.

Two servers of the same binary: one without endpoints, one whose events go to eight of them, an ordered and a plain one
for each fault. Rounds of open-loop transfers are sent to the one and the other in turn until the faults have lasted as
long as asked; the p99 of each round is taken by `munim bench transfers`. Then the receivers are well, and every endpoint
must have every event, the ordered ones in order. Exit status 1 where one does not.

Usage: benches/destinations.py [MUNIM] [--minutes 10] [--round 20] [--rate 200] [--folder target/destinations]
"""
import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request

FAULTS = ("hang", "refuse", "reset", "500")


class Receiver:
    """One port that has its fault until `well` is called, and counts what it is sent by path and webhook-id."""

    def __init__(self, fault, loop):
        self.fault, self.loop, self.ill = fault, loop, True
        self.got = {"/ordered": {}, "/plain": {}}
        self.sent, self.calls = 0, 0
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        self.port = probe.getsockname()[1]
        probe.close()
        if fault != "refuse":
            self.listen()

    def listen(self):
        server = asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=256)
        asyncio.run_coroutine_threadsafe(server, self.loop).result()

    def well(self):
        self.ill = False
        if self.fault == "refuse":
            self.listen()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                self.calls += 1
                if self.ill and self.fault == "hang":
                    await asyncio.sleep(30)
                    break
                if self.ill and self.fault == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                if self.ill:
                    writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
                else:
                    path = head.split(b" ", 2)[1].decode()
                    event = re.search(rb"(?i)\r\nwebhook-id: *([^\r]+)", head)[1].decode()
                    self.sent += 1
                    self.got[path][event] = self.got[path].get(event, 0) + 1
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Server:
    """One `munim serve` with books of its own."""

    def __init__(self, munim, folder, name):
        self.data = os.path.join(folder, name)
        port = socket.socket()
        port.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{port.getsockname()[1]}"
        port.close()
        log = open(os.path.join(folder, f"{name}.log"), "w")
        allow = ["--outbound-allow", "127.0.0.0/8", "--outbound-http"]
        self.process = subprocess.Popen(
            [munim, "serve", "--data", self.data, "--listen", self.url[7:], *allow],
            stderr=log, stdout=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(self.url + "/readyz").close()
                break
            except OSError:
                time.sleep(0.05)
        self.key_file = os.path.join(self.data, "admin.key")
        self.key = open(self.key_file).read().strip()

    def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if body is not None:
            headers["Idempotency-Key"] = os.urandom(8).hex()
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def breakers(self):
        lines = (line.rsplit(" ", 1) for line in self.ask("GET", "/metrics").splitlines())
        return {of: float(state) for of, state in lines if of.startswith("munim_breaker_state")}


def p99_of_a_round(args, server, seed):
    out = subprocess.run(
        [args.munim, "bench", "transfers", "--url", server.url, "--key-file", server.key_file, "--rate", str(args.rate),
         "--connections", "16", "--duration", str(args.round), "--seed", str(seed), "--no-floor", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ).stdout
    figure = json.loads(out)["figures"][0]
    return figure["latency_us"]["p99"] / 1000, figure["latency_us"]["p50"] / 1000, figure["answers"]


def main():
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("munim", nargs="?", default="target/release/munim")
    asked.add_argument("--minutes", type=float, default=10, help="how long the destinations are ill")
    asked.add_argument("--round", type=int, default=20, help="seconds of a round")
    asked.add_argument("--rate", type=int, default=200, help="transfers a second")
    asked.add_argument("--wait", type=float, default=15, help="minutes that the deliveries may take afterwards")
    asked.add_argument("--folder", default="target/destinations")
    args = asked.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    os.makedirs(args.folder)

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    receivers = {fault: Receiver(fault, loop) for fault in FAULTS}
    bare, beset = (Server(args.munim, args.folder, name) for name in ("bare", "beset"))
    for fault, receiver in receivers.items():
        for way in ("ordered", "plain"):
            url = f"http://127.0.0.1:{receiver.port}/{way}"
            body = {"url": url, "types": ["transfer.posted"], "ordered": way == "ordered"}
            beset.ask("POST", "/v1/webhook_endpoints", body)
    name_of = {str(receiver.port): fault for fault, receiver in receivers.items()}

    seen, began, ended = {}, time.time(), threading.Event()

    def watch():
        while not ended.wait(0.5):
            bare.breakers()  # Both answer the same questions.
            for of, state in beset.breakers().items():
                if seen.get(of) != state:
                    seen[of] = state
                    port, path = re.search(r":(\d+)#(\w+)", of).groups()
                    said = {0: "closed", 1: "half-open", 2: "open"}[state]
                    print(f"{time.time() - began:7.1f} s  breaker of {name_of[port]} #{path}: {said}", flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    rounds = {"bare": [], "beset": []}
    made, seed = 0, 1
    while time.time() - began < args.minutes * 60:
        for name, server in (("bare", bare), ("beset", beset)) if seed % 2 else (("beset", beset), ("bare", bare)):
            p99, p50, answers = p99_of_a_round(args, server, seed)
            rounds[name].append((p99, p50))
            made += answers if name == "beset" else 0
        seed += 1
        print(f"{time.time() - began:7.1f} s  p99 without {rounds['bare'][-1][0]:.2f} ms, with {rounds['beset'][-1][0]:.2f} ms", flush=True)
    for number, of in ((0, "p99"), (1, "p50")):
        without, with_ = (statistics.median(r[number] for r in rounds[n]) for n in ("bare", "beset"))
        print(f"median {of} of {len(rounds['bare'])} rounds: {without:.2f} ms without, {with_:.2f} ms with")
    print("calls while ill:", {fault: receiver.calls for fault, receiver in receivers.items()})

    # What was posted, in the order of the journal: the endpoints' events by their ids.
    posted, after = [], 0
    while True:
        page = json.loads(beset.ask("GET", f"/v1/events?types=transfer.posted&limit=1000&after={after}"))
        posted += [event["id"] for event in page["data"]]
        after = page["through"]
        if not page["has_more"]:
            break
    wanted = set(posted)
    print(f"{len(wanted)} events, {made} transfers answered; now the destinations are well", flush=True)
    healed = time.time()
    for receiver in receivers.values():
        receiver.well()
    left = {(fault, way) for fault in FAULTS for way in ("/ordered", "/plain")}
    while left and time.time() - healed < args.wait * 60:
        time.sleep(1)
        for fault, way in sorted(left):
            if len(receivers[fault].got[way]) >= len(wanted):
                left.discard((fault, way))
                print(f"{time.time() - healed:7.1f} s  {fault} {way[1:]} has all", flush=True)
    ended.set()
    watcher.join()
    bad = bool(left)
    rank = {event: at for at, event in enumerate(posted)}
    for fault in FAULTS:
        for way in ("/ordered", "/plain"):
            got = receivers[fault].got[way]
            ranks = [rank.get(event, -1) for event in got]
            lost, twice = len(wanted - set(got)), sum(count - 1 for count in got.values())
            in_order = ranks == sorted(ranks)
            bad |= lost > 0 or (way == "/ordered" and not in_order)
            print(f"{fault} {way[1:]}: {len(got)} events, {lost} missing, {twice} again, in order: {in_order}")
    for server in (bare, beset):
        server.process.terminate()
        server.process.wait()
    raise SystemExit(bad)


if __name__ == "__main__":
    main()
