"""Bridges against real peers; tests/brokers.sh calls it: brokers.py BINARY FOLDER.

One journal is written to for as long as this runs, and five peers follow it. Meanwhile RabbitMQ is killed and stays
away, Mosquitto and the mail server are stopped, an HTTP receiver refuses, and munim is killed with -9. In the end:

- every event of the journal is at every peer, counted once by its id, and each came first in the journal's order;
- every payment command was posted once, answered, and acknowledged no earlier than it was durable;
- what was refused is in the queue for that, and nothing else is; without one it is in the dead-letter queue;
- every mail is there with a PDF in it; every webhook's signature is good.
"""

import contextlib
import email
import email.policy
import http.client
import http.server
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pika
from aiosmtpd.controller import Controller
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
from standardwebhooks.webhooks import Webhook

BINARY, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
DOWN_S = float(os.environ.get("MUNIM_BROKER_DOWN_S", "60"))
SEED = int(os.environ.get("MUNIM_SEED", str(random.randrange(1 << 32))))
RNG = random.Random(SEED)
USER, PASSWORD = "munim", "geheim/ä:1"
AMQP_PASSWORD = "geheim-1"
COMMANDS, BAD, MAILS = 600, 12, 20
KILLS = 4


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


STARTED = time.monotonic()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(what, seconds, check, every=0.2):
    """Waits until `check` gives something true, and gives that; fails with `what` after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(every)


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A program in a group of its own, so that it can be ended with all that it started."""

    def __init__(self, name, command, environment=None):
        self.name, self.command, self.environment = name, command, environment
        self.running = None

    def start(self):
        log = open(FOLDER / f"{self.name}.log", "ab")
        environment = {**os.environ, **(self.environment or {})}
        self.running = subprocess.Popen(
            self.command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=FOLDER
        )
        log.close()

    def end(self, signal_number=signal.SIGTERM):
        if self.running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal_number)
        try:
            self.running.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()
        self.running = None


class Rabbit:
    def __init__(self):
        self.port, self.dist, self.epmd = free_port(), free_port(), free_port()
        home = FOLDER / "rabbit"
        home.mkdir()
        (home / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndefault_user = {USER}\ndefault_pass = {AMQP_PASSWORD}\n"
            "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 400MB\n"
        )
        (home / "plugins").write_text("[].\n")
        environment = {
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"munim{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_DIST_PORT": str(self.dist),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # epmd detaches itself from whoever starts it: started here, it is ours to end.
        self.names = Process("epmd", ["epmd", "-port", str(self.epmd), "-address", "127.0.0.1"], environment)
        self.server = Process("rabbit", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], environment)
        self.names.start()

    def start(self):
        self.server.start()
        wait_for("RabbitMQ answers", 120, self.answers, 0.5)

    def answers(self):
        assert self.server.running.poll() is None, "RabbitMQ ended by itself: see rabbit.log"
        try:
            self.connect().close()
            return True
        except Exception:
            return False

    def connect(self):
        credentials = pika.PlainCredentials(USER, AMQP_PASSWORD)
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, "/", credentials, heartbeat=30, socket_timeout=5)
        )

    def kill(self):
        self.server.end(signal.SIGKILL)


class Mosquitto:
    def __init__(self):
        self.port = free_port()
        home = FOLDER / "mosquitto"
        home.mkdir()
        subprocess.run(["mosquitto_passwd", "-c", "-b", str(home / "users"), USER, PASSWORD], check=True)
        (home / "conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {home}/users\n"
            f"persistence true\npersistence_location {home}/\nmax_queued_messages 0\n"
            + ("user root\n" if os.getuid() == 0 else "")
        )
        self.server = Process("mosquitto", ["/usr/sbin/mosquitto", "-c", str(home / "conf")])

    def start(self):
        self.server.start()
        wait_for("Mosquitto answers", 20, lambda: listens(self.port))


class Munim:
    def __init__(self, arguments):
        self.port = free_port()
        self.data = FOLDER / "data"
        self.arguments = arguments
        self.process = None

    def start(self, *more):
        command = [BINARY, "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *self.arguments]
        self.process = Process("munim", [*command, *more])
        self.process.start()
        wait_for("munim is ready", 60, self.is_ready, 0.05)

    def is_ready(self):
        assert self.process.running.poll() is None, "munim ended by itself: see munim.log"
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, key=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        request.add_header("Authorization", "Bearer " + (self.data / "admin.key").read_text().splitlines()[0])
        if key is not None:
            request.add_header("Idempotency-Key", key)
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            if error.code == 503:
                raise ConnectionError(f"{method} {path}: {said}") from None
            raise AssertionError(f"{method} {path}: {error.code} {said}") from None

    def post(self, path, key, body):
        """A command that is repeated under its key until it is answered: munim may be killed at any moment."""
        while True:
            try:
                return self.ask("POST", path, body, key)
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)

    def events(self):
        """All events of the journal, oldest first."""
        found, after = [], "0"
        while True:
            page = self.ask("GET", f"/v1/events?after={after}&limit=1000")
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["through"]


class Seen:
    """What a peer got: ids in the order of their first coming, and how often something came again."""

    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()
        self.ids, self.order, self.again = set(), [], 0

    def take(self, event, id_beside):
        assert event["id"] == id_beside, f"{self.name}: {event['id']} came as {id_beside}"
        assert event["specversion"] == "1.0" and event["type"] and event["source"].startswith("urn:munim:books:")
        with self.lock:
            if event["id"] in self.ids:
                self.again += 1
                return
            self.ids.add(event["id"])
            self.order.append(event["sequence"])

    def check(self, expected):
        with self.lock:
            missing, more = expected - self.ids, self.ids - expected
            assert not missing and not more, f"{self.name}: {len(missing)} are missing, {len(more)} nobody knows"
            assert self.order == sorted(self.order), f"{self.name}: not in the journal's order"
            say(f"{self.name}: {len(self.ids)} events, each once by its id and in order; {self.again} came again")


class AmqpPeer(threading.Thread):
    """A consumer that comes back, as a third party's would."""

    def __init__(self, rabbit):
        super().__init__(daemon=True)
        self.rabbit, self.seen, self.stops = rabbit, Seen("amqp"), False
        self.failure = None

    def run(self):
        while not self.stops:
            try:
                connection = self.rabbit.connect()
                channel = connection.channel()
                channel.basic_qos(prefetch_count=200)
                for method, properties, body in channel.consume("books.all", inactivity_timeout=0.5):
                    if self.stops:
                        break
                    if method is None:
                        continue
                    assert properties.delivery_mode == 2 and properties.content_type.startswith("application/cloudevents+json")
                    self.seen.take(json.loads(body), properties.message_id)
                    channel.basic_ack(method.delivery_tag)
                connection.close()
            except AssertionError as failure:
                self.failure = failure
                return
            except Exception:
                time.sleep(0.5)


def mqtt_peer(port):
    seen = Seen("mqtt")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="third-party", protocol=mqtt.MQTTv5)
    client.username_pw_set(USER, PASSWORD)
    client.failures = []

    def on_connect(client, _data, _flags, _reason, _properties):
        client.subscribe("books/events", qos=1)

    def on_message(client, _data, message):
        try:
            properties = dict(message.properties.UserProperty)
            event = json.loads(message.payload)
            assert properties["type"] == event["type"] and message.qos == 1
            seen.take(event, properties["id"])
        except Exception as failure:
            client.failures.append(failure)

    client.on_connect, client.on_message = on_connect, on_message
    client.reconnect_delay_set(1, 2)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", port, clean_start=False, properties=session)
    client.loop_start()
    return client, seen


class HttpPeer:
    """Receives batches at /sync or webhooks at /hook; refuses while `refuses`, and batches now and then."""

    def __init__(self, name):
        self.seen = Seen(name)
        self.refuses, self.secret, self.failures, self.refused = False, None, [], 0
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(peer.take(self.path, dict(self.headers), body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        if self.refuses:
            self.refused += 1
            return 503
        headers = {name.lower(): value for name, value in headers.items()}
        try:
            if path == "/hook":
                event = Webhook(self.secret).verify(body, headers)
                self.seen.take(event, headers["webhook-id"])
                return 204
            assert headers["content-type"] == "application/cloudevents-batch+json"
            assert headers["authorization"] == "Bearer token-of-the-peer"
            for event in json.loads(body):
                self.seen.take(event, event["id"])
            # Taken, and not said so: what comes again is counted by its id.
            return 500 if RNG.random() < 0.05 else 200
        except Exception as failure:
            self.failures.append(repr(failure))
            return 400


class MailPeer:
    def __init__(self):
        self.port, self.mails, self.controller = free_port(), [], None

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append(envelope.content)
        return "250 taken"

    def start(self):
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def stop(self):
        self.controller.stop()

    def check(self, expected):
        ids = set()
        for raw in self.mails:
            mail = email.message_from_bytes(raw, policy=email.policy.default)
            ids.add(mail["Message-ID"])
            parts = list(mail.iter_attachments())
            assert len(parts) == 1 and parts[0].get_content_type() == "application/pdf", mail.as_string()[:500]
            pdf = parts[0].get_content()
            assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF"), "the attachment is no whole PDF"
            assert "Thank you" in mail.get_body().get_content()
        assert len(ids) == expected, f"{len(ids)} mails of {expected}"
        say(f"smtp: {len(ids)} mails with a PDF each, {len(self.mails) - len(ids)} came again")


class Load(threading.Thread):
    """Posts transfers as long as it may, each under its key until it is answered."""

    def __init__(self, munim):
        super().__init__(daemon=True)
        self.munim, self.stops, self.count, self.failure = munim, threading.Event(), 0, None

    def run(self):
        try:
            while not self.stops.is_set():
                body = {"debit_account": "ext:CASH", "credit_account": "ext:SALES", "amount": "1.00"}
                self.munim.post("/v1/transfers", f"load-{self.count}", body)
                self.count += 1
                time.sleep(0.01)
        except Exception as failure:
            self.failure = failure


class CommandSender:
    """Payment commands, confirmed by the broker and sent again where it was not."""

    def __init__(self, rabbit):
        self.rabbit, self.replies = rabbit, {}

    def set_up(self):
        connection = self.rabbit.connect()
        channel = connection.channel()
        channel.exchange_declare("books", "topic", durable=True)
        channel.queue_declare("books.all", durable=True)
        channel.queue_bind("books.all", "books", "#")
        channel.queue_declare("dead", durable=True)
        channel.queue_declare("refused", durable=True)
        channel.queue_declare("replies", durable=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("munim.commands", durable=True, arguments=arguments)
        connection.close()

    def send(self, names):
        waiting = list(names)
        while waiting:
            try:
                connection = self.rabbit.connect()
                channel = connection.channel()
                channel.confirm_delivery()
                while waiting:
                    self.publish(channel, waiting[0])
                    waiting.pop(0)
                connection.close()
            except Exception:
                time.sleep(0.5)

    @staticmethod
    def publish(channel, name):
        body = {"debit_account": "ext:CASH", "credit_account": "ext:TILL", "amount": "1.00", "description": name}
        if name.startswith("bad"):
            body["amount"] = "-1.00"
        message = json.dumps({"id": name, "key": name, "body": body})
        if name == "bad-0":
            message = "no JSON"
        properties = pika.BasicProperties(delivery_mode=2, message_id=name, correlation_id=name, reply_to="replies")
        channel.basic_publish("", "munim.commands", message, properties, mandatory=True)

    def left(self, queue="munim.commands"):
        connection = self.rabbit.connect()
        count = connection.channel().queue_declare(queue, passive=True).method.message_count
        connection.close()
        return count

    def drain(self, queue):
        connection = self.rabbit.connect()
        channel = connection.channel()
        found = []
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                break
            found.append((properties, body))
        connection.close()
        return found


def targets(munim, rabbit, mosquitto, peer, hooks):
    made = {}
    for name, body in {
        "amqp": {"url": f"amqp://127.0.0.1:{rabbit.port}", "username": USER, "password": AMQP_PASSWORD, "exchange": "books"},
        "mqtt": {"url": f"mqtt://127.0.0.1:{mosquitto.port}", "username": USER, "password": PASSWORD, "topic": "books/events"},
        "http": {"url": f"http://127.0.0.1:{peer.port}/sync", "password": "token-of-the-peer"},
    }.items():
        made[name] = munim.post("/v1/sync_targets", f"target-{name}", {"kind": name, "after": 0, **body})["id"]
    hook = {"url": f"http://127.0.0.1:{hooks.port}/hook", "after": 0, "ordered": True}
    endpoint = munim.post("/v1/webhook_endpoints", "hook", hook)
    hooks.secret = endpoint["secret"]
    assert PASSWORD not in json.dumps(munim.ask("GET", "/v1/sync_targets"))
    return made


def post_mails(munim, numbers):
    """A statement as a PDF to each."""
    for number in numbers:
        args = {"to": f"asha{number}@example.in", "subject": "Statement", "text": "Thank you.",
                "attach": {"document": "account_statement", "of": "ext:CASH"}}
        munim.post("/v1/jobs", f"mail-{number}", {"kind": "email", "args": args})


def commands_of(munim):
    return [e["data"]["description"] for e in munim.events() if e["type"] == "transfer.posted" and e["data"].get("description")]


def standing(munim, id):
    return munim.ask("GET", f"/v1/sync_targets/{id}")["standing"]


def main():
    say(f"seed {SEED} (MUNIM_SEED)")
    rabbit, mosquitto, mails = Rabbit(), Mosquitto(), MailPeer()
    # Two servers: calls to one share a breaker, and a webhook waits five minutes after its third failure.
    peer, hooks = HttpPeer("http"), HttpPeer("webhook")
    munim = Munim([
        "--outbound-http", "--outbound-allow", "127.0.0.0/8",
        "--mail-server", f"smtp://127.0.0.1:{mails.port}", "--mail-from", "office@sitara.example",
    ])
    try:
        run(rabbit, mosquitto, peer, hooks, mails, munim)
    finally:
        if munim.process:
            munim.process.end(signal.SIGKILL)
        rabbit.kill()
        mosquitto.server.end()
        rabbit.names.end()


def run(rabbit, mosquitto, peer, hooks, mails, munim):
    rabbit.start()
    mosquitto.start()
    say("RabbitMQ and Mosquitto run")
    sender = CommandSender(rabbit)
    sender.set_up()
    amqp = AmqpPeer(rabbit)
    amqp.start()
    mqtt_client, mqtt_seen = mqtt_peer(mosquitto.port)

    munim.start()
    for name, kind in (("CASH", "asset"), ("SALES", "income"), ("TILL", "income")):
        munim.post("/v1/accounts", f"account-{name}", {"external_id": name, "currency": "INR", "type": kind})
    ids = targets(munim, rabbit, mosquitto, peer, hooks)
    key = munim.post("/v1/api_keys", "key", {"name": "commands", "role": "system", "scopes": ["create_transfer"]})
    key_file = FOLDER / "commands.key"
    key_file.write_text(key["token"] + "\n")
    munim.process.end()
    url = f"amqp://{USER}:{AMQP_PASSWORD}@127.0.0.1:{rabbit.port}/%2f"
    with_commands = ("--amqp-commands", url, "--amqp-queue", "munim.commands", "--amqp-key-file", str(key_file))
    dead_letters(munim, sender, with_commands)
    with_commands = (*with_commands, "--amqp-refused-queue", "refused")
    munim.start(*with_commands)
    load = Load(munim)
    load.start()
    names = [f"pay-{n}" for n in range(COMMANDS)] + [f"bad-{n}" for n in range(BAD)]
    RNG.shuffle(names)
    wait_for("targets are connected", 60, lambda: all(standing(munim, id)["connected"] for id in ids.values()))

    say("kill -9 of munim while commands come")
    sent = 0
    for round in range(KILLS):
        part = names[sent : sent + len(names) // (KILLS + 2)]
        sending = threading.Thread(target=sender.send, args=(part,), daemon=True)
        sending.start()
        time.sleep(RNG.uniform(0.1, 0.8))
        munim.process.end(signal.SIGKILL)
        sending.join(60)
        assert not sending.is_alive(), "commands could not be sent"
        sent += len(part)
        # Without commands: what is in the books now was there when the broker was told.
        munim.start()
        gone, refused = sent - sender.left(), sum(name.startswith("bad") for name in names[:sent])
        posted = len(set(commands_of(munim)))
        assert posted + refused >= gone, f"{gone} commands were acknowledged, {posted} are in the books"
        say(f"round {round}: of {sent} commands {gone} acknowledged, {posted} in the books, {refused} are to be refused")
        munim.process.end()
        munim.start(*with_commands)
    # Mails while nobody takes them, twice: what waits for its next attempt is there in the end.
    post_mails(munim, range(MAILS // 2))
    time.sleep(4)
    mails.start()
    say("the mail server is there")

    say("Mosquitto stops, the HTTP receiver refuses")
    peer.refuses = True
    mosquitto.server.end()
    time.sleep(3)
    mosquitto.start()
    mails.stop()
    post_mails(munim, range(MAILS // 2, MAILS))
    time.sleep(2)
    mails.start()

    say(f"RabbitMQ is killed, and stays away for {DOWN_S:.0f} s")
    rest = threading.Thread(target=sender.send, args=(names[sent:],), daemon=True)
    rest.start()
    time.sleep(0.5)
    rabbit.kill()
    wait_for("somebody notices", 60, lambda: not standing(munim, ids["amqp"])["connected"])
    before = standing(munim, ids["amqp"])["position"]
    time.sleep(DOWN_S)
    assert load.failure is None, load.failure
    away = standing(munim, ids["amqp"])
    assert away["position"] == before and away["last_error"] and away["lag"] > 0, away
    assert standing(munim, ids["mqtt"])["connected"], "another's broker is away, and this one notices"
    munim.process.end(signal.SIGKILL)
    munim.start(*with_commands)
    say("munim was killed meanwhile")
    rabbit.start()
    say("RabbitMQ is back")
    peer.refuses = False
    rest.join(120)
    assert not rest.is_alive(), "commands could not be sent"

    wait_for("commands are taken", 120, lambda: sender.left() == 0 and len(set(commands_of(munim))) == COMMANDS, 1)
    load.stops.set()
    load.join(30)
    assert load.failure is None, load.failure
    wait_for("mails arrive", 600, lambda: len(set(mails.mails)) >= MAILS, 1)
    finish(munim, sender, amqp, mqtt_client, mqtt_seen, peer, hooks, mails, ids, load)


def dead_letters(munim, sender, with_commands):
    """Without a queue for what is refused, the broker's own way, while the broker lives."""
    munim.start(*with_commands)
    sender.send(["bad-early"])
    wait_for("the dead letter", 30, lambda: sender.left("dead") == 1)
    assert [properties.message_id for properties, _ in sender.drain("dead")] == ["bad-early"]
    assert json.loads(sender.drain("replies")[0][1])["op"] == "refused"
    munim.process.end()


def finish(munim, sender, amqp, mqtt_client, mqtt_seen, peer, hooks, mails, ids, load):
    access = ("api_key.", "access.")
    events = munim.events()
    expected = {event["id"] for event in events if not event["type"].startswith(access)}
    say(f"the journal has {len(expected)} events for peers; {load.count} transfers of the load")
    for name, seen in (("amqp", amqp.seen), ("mqtt", mqtt_seen), ("http", peer.seen), ("webhook", hooks.seen)):
        wait_for(f"{name} has it all", 180, lambda: len(seen.ids) >= len(expected), 0.5)
    assert amqp.failure is None, amqp.failure
    assert not (mqtt_client.failures or peer.failures or hooks.failures), (mqtt_client.failures, peer.failures, hooks.failures)
    for seen in (amqp.seen, mqtt_seen, peer.seen, hooks.seen):
        seen.check(expected)
    for name, id in ids.items():
        now = wait_for(f"{name} stands at the end", 20, lambda: (s := standing(munim, id))["lag"] == 0 and s)
        assert now["connected"], (name, now)

    posted = commands_of(munim)
    assert sorted(posted) == sorted(f"pay-{n}" for n in range(COMMANDS)), "commands were lost or doubled"
    replies, refused = {}, {}
    for properties, body in sender.drain("replies"):
        reply = json.loads(body)
        said = reply["transfer"]["id"] if reply["op"] == "posted" else reply["problem"]["code"]
        first = replies.setdefault(properties.correlation_id, (reply["op"], said))
        assert first == (reply["op"], said), f"two answers to {properties.correlation_id}: {first}, {said}"
    for properties, body in sender.drain("refused"):
        name, why = properties.message_id, json.loads(properties.headers["munim-answer"])["problem"]["code"]
        assert replies[name] == ("refused", why), (name, replies[name], why)
        assert refused.setdefault(name, body) == body, name
    assert set(refused) == {f"bad-{n}" for n in range(BAD)}, set(refused)
    assert refused["bad-0"] == b"no JSON" and json.loads(refused["bad-1"])["key"] == "bad-1", refused
    assert not sender.drain("dead"), "something was rejected"
    for name, (op, _) in replies.items():
        assert (op == "refused") == name.startswith("bad"), (name, op)
    assert len(replies) == COMMANDS + BAD, f"{len(replies)} replies"
    say(f"commands: {len(posted)} posted once and answered, {len(refused)} refused and put aside")

    mails.check(MAILS)
    mails.stop()
    say(f"http: {peer.refused} calls were refused while it was ill")
    amqp.stops = True
    mqtt_client.loop_stop()
    munim.process.end()
    checked = subprocess.run([BINARY, "verify", "--data", str(munim.data)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    say("the books prove themselves")


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
try:
    main()
except AssertionError as failure:
    say(f"FAILED: {failure}")
    for name in ("munim", "rabbit", "mosquitto"):
        path = FOLDER / f"{name}.log"
        if path.exists():
            print(f"--- the end of {name}.log\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:]))
    sys.exit(1)
say("all held")
