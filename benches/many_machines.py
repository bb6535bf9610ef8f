#!/usr/bin/env python3
"""Measures one queue for many machines (docs/many-machines.md), on this machine.

    cargo build --release -p latent-cli --features nats
    benches/many_machines.py target/release/latent overhead scaling batch broker survive

For survive, each worker reaches the broker through a link of its own that can be cut: a relay in this script, or with
--namespaces a virtual cable to a network namespace of the worker, for which this must run as root, on Linux with iproute2.
Else it needs nats-server and nothing more.

  overhead  time of a job through the queue beside that on the server itself: median and 99th percentile
  scaling   images a minute of two workers beside one, with a thread each
  batch     a batch of 64 over two workers beside one machine: the same files; and how soon cancelling it stops both
  broker    jobs a second that the broker hands out to a worker that does nothing, 200 fetched at a time
  survive   --jobs jobs, while workers are killed, links are cut and the broker is restarted: each ends once, with the same bytes
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

SMALL = {"prompt": "a red apple", "width": 32, "height": 32, "steps": 2}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    """It listens on this machine alone, or on all of its addresses. Workers without links of their own reach it as it is."""

    address, prefix = "127.0.0.1", []

    def __init__(self, folder, listen="127.0.0.1"):
        self.port, self.folder, self.listen, self.process = free_port(), folder, listen, None
        self.start()

    def start(self):
        program = shutil.which("nats-server") or "/usr/sbin/nats-server"
        command = [program, "-a", self.listen, "-p", str(self.port), "-js", "-sd", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Relay:
    """A relay to the broker. While it is cut, nothing passes and nobody is told."""

    address, prefix = "127.0.0.1", []

    def __init__(self, _, port):
        self.target, self.cut, self.listener = port, False, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.relay, args=(near,), daemon=True).start()

    def relay(self, near):
        with near:
            while self.cut:
                time.sleep(0.05)
            try:
                with socket.create_connection(("127.0.0.1", self.target)) as far:
                    for end in (near, far):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    other = {near: far, far: near}
                    while True:
                        ready, _, _ = select.select([near, far], [], [], 0.5)
                        while self.cut:
                            time.sleep(0.05)
                        for end in ready:
                            data = end.recv(1 << 16)
                            if not data:
                                return
                            other[end].sendall(data)
            except OSError:
                return

    def end(self):
        self.listener.close()


class Host:
    """A network namespace, whose only way to the broker is a virtual cable."""

    def __init__(self, number, port):
        self.name, self.cable = f"latent-{os.getpid()}-{number}", f"lt{os.getpid()}n{number}"
        self.address, self.port, self.is_cut = f"10.213.{number}.1", port, False
        self.prefix = ["ip", "netns", "exec", self.name]
        for command in (f"netns add {self.name}", f"link add {self.cable} type veth peer name eth0 netns {self.name}",
                        f"addr add {self.address}/24 dev {self.cable}", f"link set {self.cable} up",
                        f"-n {self.name} addr add 10.213.{number}.2/24 dev eth0", f"-n {self.name} link set eth0 up"):
            subprocess.run(["ip", *command.split()], check=True)

    @property
    def cut(self):
        return self.is_cut

    @cut.setter
    def cut(self, is_cut):
        self.is_cut = is_cut
        subprocess.run(["ip", "link", "set", self.cable, "down" if is_cut else "up"], check=True)

    def end(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class Program:
    """A process of the program, with its log in a file."""

    def __init__(self, latent, arguments, log, prefix=()):
        environment = dict(os.environ, RAYON_NUM_THREADS="1")
        self.log = open(log, "ab")
        self.process = subprocess.Popen([*prefix, latent, *arguments], stdout=subprocess.PIPE, stderr=self.log, env=environment)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()


class Front(Program):
    def __init__(self, latent, folder, queue=None, threads=1):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models").mkdir(exist_ok=True)
        self.images = folder / "images"
        arguments = ["serve", "--listen", "127.0.0.1:0", "--output-dir", self.images, "--state-dir", folder / "state",
                     "--models-dir", folder / "models", "--device", "cpu", "--threads", str(threads)]
        super().__init__(latent, arguments + (["--queue", queue] if queue else []), folder / "log")
        self.address = self.process.stdout.readline().decode().strip().rstrip("/")

    def ask(self, path, body=None, method=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data, {"content-type": "application/json"}, method=method)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(0.2)

    def submit(self, **options):
        return self.ask("/api/v1/jobs", {"verb": "txt2img", "options": {**SMALL, **options}})["id"]

    def ended(self, job):
        """The end of a job, heard as an event."""
        with urllib.request.urlopen(f"{self.address}/api/v1/jobs/{job}/events", timeout=600) as lines:
            name = ""
            for line in lines:
                line = line.decode().rstrip()
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: ") and name in ("done", "failed", "cancelled"):
                    return json.loads(line[6:])

    def hashes(self, end):
        return [hashlib.sha256((self.images / image["name"]).read_bytes()).hexdigest() for image in end["images"]]


class Worker(Program):
    def __init__(self, latent, folder, name, link, ack_wait=30, attempts=3):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models").mkdir(exist_ok=True)
        self.name, self.arguments = name, (latent, folder, name, link, ack_wait, attempts)
        super().__init__(latent, ["worker", "--queue", f"nats://{link.address}:{link.port}", "--device", "cpu", "--threads", "1", "--name", name,
                                  "--models-dir", folder / "models", "--ack-wait", str(ack_wait), "--max-deliveries", str(attempts)],
                         folder / f"{name}.log", link.prefix)

    def again(self):
        return Worker(*self.arguments)


class Set:
    """A broker, a front and workers; with a kind of links, each worker is behind one."""

    def __init__(self, latent, workers, kind=None, **options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latent-queue-"))
        self.broker = Broker(self.folder / "broker", "0.0.0.0" if kind is Host else "127.0.0.1")
        self.front = Front(latent, self.folder / "front", f"nats://127.0.0.1:{self.broker.port}")
        self.links = [kind(number, self.broker.port) for number in range(workers if kind else 0)]
        ways = self.links or [self.broker] * workers
        self.workers = [Worker(latent, self.folder / "workers", f"worker-{i}", way, **options) for i, way in enumerate(ways)]
        while len(self.front.ask("/api/v1/workers")["workers"]) < workers:
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in [*self.workers, self.front]:
            program.end(signal.SIGKILL)
        self.broker.kill()
        for link in self.links:
            link.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def one_machine(latent, threads=1):
    return Front(latent, pathlib.Path(tempfile.mkdtemp(prefix="latent-alone-")), threads=threads)


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def time_of_jobs(front, jobs):
    front.ended(front.submit(seed=1))
    times = []
    for seed in range(jobs):
        began = time.perf_counter()
        assert front.ended(front.submit(seed=seed))["state"] == "done"
        times.append((time.perf_counter() - began) * 1000)
    return times


def overhead(latent, options):
    alone = one_machine(latent)
    local = time_of_jobs(alone, options.jobs // 5)
    alone.end()
    with Set(latent, 1) as machines:
        queued = time_of_jobs(machines.front, options.jobs // 5)
    for name, part in (("median", 0.5), ("99th percentile", 0.99)):
        here, there = percentile(local, part), percentile(queued, part)
        print(f"overhead, {name}: {there - here:.1f} ms a job ({here:.1f} ms without the queue, {there:.1f} ms with it)")


def scaling(latent, options):
    rates = []
    for workers in (1, 2):
        with Set(latent, workers) as machines:
            job = dict(width=64, height=64, steps=20)
            for worker in range(2 * workers):
                machines.front.ended(machines.front.submit(seed=worker))
            began = time.perf_counter()
            ids = [machines.front.submit(seed=seed, **job) for seed in range(options.jobs // 20)]
            assert all(machines.front.ended(id)["state"] == "done" for id in ids)
            rates.append(len(ids) * 60 / (time.perf_counter() - began))
    print(f"scaling: {rates[0]:.0f} images a minute with one worker, {rates[1]:.0f} with two: {rates[1] / rates[0]:.2f} times")


def batch(latent, _):
    alone = one_machine(latent)
    expected = alone.hashes(alone.ended(alone.submit(seed=7, batch_count=64)))
    alone.end()
    with Set(latent, 2) as machines:
        front = machines.front
        assert front.hashes(front.ended(front.submit(seed=7, batch_count=64))) == expected
        print("batch: the 64 files of two workers are those of one machine")
        job = front.submit(seed=7, batch_count=64, steps=1000, width=64, height=64)
        while sum(len(worker["drawing"]) for worker in front.ask("/api/v1/workers")["workers"]) < 2:
            time.sleep(0.05)
        began = time.perf_counter()
        front.ask(f"/api/v1/jobs/{job}", method="DELETE")
        assert front.ended(front.submit(seed=7))["state"] == "done"
        print(f"batch: cancelled; the next job had ended after {(time.perf_counter() - began) * 1000:.0f} ms")


class RawClient:
    """The broker's protocol by hand."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 20)
        self.send(b'CONNECT {"verbose":false}\r\nSUB inbox.> 1\r\n')

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, subject, data=b"", reply="inbox.1"):
        return f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n"

    def next(self):
        while True:
            words = self.file.readline().decode().split()
            if words[0] in ("MSG", "HMSG"):
                data = self.file.read(int(words[-1]) + 2)[:-2]
                return (words[3] if len(words) == 5 and words[0] == "MSG" else None), data
            if words[0] == "PING":
                self.send(b"PONG\r\n")


def broker(_, options):
    with tempfile.TemporaryDirectory() as folder:
        server = Broker(pathlib.Path(folder))
        client, jobs = RawClient(server.port), options.jobs * 10
        stream = {"name": "LATENT_JOBS", "subjects": ["latent.jobs.>"], "retention": "workqueue", "storage": "file", "num_replicas": 1,
                  "discard": "new", "max_msgs_per_subject": 1, "discard_new_per_subject": True, "max_consumers": -1, "max_msgs": -1,
                  "max_bytes": -1, "max_age": 0}
        consumer = {"durable_name": "any-demo", "filter_subject": "latent.jobs.any.demo.>", "ack_policy": "explicit",
                    "deliver_policy": "all", "replay_policy": "instant", "max_ack_pending": 100000}
        for subject, body in (("STREAM.CREATE.LATENT_JOBS", stream),
                              ("CONSUMER.DURABLE.CREATE.LATENT_JOBS.any-demo", {"stream_name": "LATENT_JOBS", "config": consumer})):
            client.send(client.publish(f"$JS.API.{subject}", json.dumps(body).encode()))
            answer = json.loads(client.next()[1])
            assert "error" not in answer, answer
        message = json.dumps({"schema": 3, "work": {"inline": "x" * 1500}}).encode()
        began = time.perf_counter()
        for first in range(0, jobs, 100):
            client.send(b"".join(client.publish(f"latent.jobs.any.demo.bench.{i}.0", message) for i in range(first, first + 100)))
            for _ in range(100):
                client.next()
        stored = time.perf_counter()
        size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())
        left = jobs
        while left:
            client.send(client.publish("$JS.API.CONSUMER.MSG.NEXT.LATENT_JOBS.any-demo", b'{"batch":200}'))
            acks = []
            for _ in range(min(200, left)):
                acks.append(client.next()[0])
            client.send(b"".join(client.publish(ack, b"+ACK", "") .replace(b"  ", b" ") for ack in acks))
            left -= len(acks)
        drawn = time.perf_counter()
        server.kill()
    print(f"broker: {jobs / (stored - began):.0f} jobs a second stored, {jobs / (drawn - stored):.0f} handed out; "
          f"{size / jobs:.0f} bytes of disk for a job of {len(message)} bytes")


def survive(latent, options):
    alone = one_machine(latent)
    seeds = 20
    expected = [alone.hashes(alone.ended(alone.submit(seed=seed))) for seed in range(seeds)]
    alone.end()
    chance, counts = random.Random(7), {"kills": 0, "cuts": 0, "restarts": 0}
    # Kills every 3 s would set jobs aside by chance: here they may be handed out often.
    with Set(latent, 3, Host if options.namespaces else Relay, ack_wait=2, attempts=50) as machines:
        front, stop = machines.front, threading.Event()

        def kill():
            while not stop.wait(3):
                index = chance.randrange(3)
                machines.workers[index].end(signal.SIGKILL)
                machines.workers[index] = machines.workers[index].again()
                counts["kills"] += 1

        def cut():
            while not stop.wait(chance.uniform(5, 15)):
                link = chance.choice(machines.links)
                link.cut = True
                stop.wait(chance.uniform(5, 30))
                link.cut = False
                counts["cuts"] += 1

        def restart():
            while counts["restarts"] < 5 and not stop.wait(8):
                machines.broker.kill()
                time.sleep(1)
                machines.broker.start()
                counts["restarts"] += 1

        began = time.perf_counter()
        threads = [threading.Thread(target=task, daemon=True) for task in (kill, cut, restart)]
        ids = []
        for index in range(options.jobs):
            ids.append((index % seeds, front.submit(seed=index % seeds)))
            if index == options.jobs // 10:
                for thread in threads:
                    thread.start()
        ends = [(seed, front.ended(id)) for seed, id in ids]
        took = time.perf_counter() - began
        # What was cut comes back, and may be sent a second time.
        stop.set()
        for thread in threads:
            thread.join()
        time.sleep(5)
        lost = [end for _, end in ends if end["state"] != "done"]
        other = [end["id"] for seed, end in ends if end["state"] == "done" and front.hashes(end) != expected[seed]]
        files = len(list(front.images.glob("*.png")))
        print(f"survive: {len(ends)} jobs in {took:.0f} s, {counts['kills']} kills, {counts['cuts']} links cut, "
              f"{counts['restarts']} restarts of the broker: {len(lost)} not drawn, {len(other)} with other bytes, {files} files")
        for end in lost[:5]:
            print(json.dumps(end), file=sys.stderr)
        return not lost and not other and files == len(ends)


def main():
    tasks = {task.__name__: task for task in (overhead, scaling, batch, broker, survive)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latent")
    parser.add_argument("tasks", nargs="+", choices=tasks)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--namespaces", action="store_true")
    options = parser.parse_args()
    results = [tasks[name](options.latent, options) for name in options.tasks]
    sys.exit(0 if all(result is not False for result in results) else 1)


if __name__ == "__main__":
    main()
