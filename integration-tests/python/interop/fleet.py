"""An application, a collector of somebody else's, and `retrace-gateway` between it and the receiver: is the run the same?

The collector is Rotel, by its wheel. Where Kafka stands between, the broker is the mock cluster that librdkafka has inside.
"""

import collections
import contextlib
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from interop import otlp
from interop.limit import LIMIT_SECONDS

BROKER = Path(__file__).parent.parent / "otlp" / "broker.py"
TOPIC = "otlp_spans"

# How the spans come to the collector, how they leave it, and the encoding in Kafka.
ROUTES = {
    "grpc": ("grpc", "otlp", "grpc"),
    "http": ("http/protobuf", "otlp", "http"),
    "kafka-proto": ("grpc", "kafka", "protobuf"),
    "kafka-json": ("grpc", "kafka", "json"),
}


def check(name, receiver, gateway, environment):
    """Runs an application whose spans take a route, and looks at the one run that it leaves."""
    protocol, exporter, form = ROUTES[name]
    before = receiver.ids()
    with contextlib.ExitStack() as stack:
        kafka = ""
        if exporter == "kafka":
            address = stack.enter_context(Broker(environment)).address
            kafka = f'[kafka]\nbrokers = ["{address}"]\ntopics = ["{TOPIC}"]\nencoding = "{ENCODINGS[form]}"\n'
        gateway = stack.enter_context(Gateway(gateway, receiver.url, kafka, environment))
        if exporter == "kafka":
            sends = ["--kafka-exporter-brokers", address, "--kafka-exporter-traces-topic", TOPIC]
            sends += ["--kafka-exporter-format", form]
        else:
            sends = ["--otlp-exporter-endpoint", f"http://{gateway.addresses[form]}", "--otlp-exporter-protocol", form]
        collector = stack.enter_context(Collector(["--exporter", exporter, *sends], environment))
        settings = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol} if protocol != "grpc" else {}
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.addresses[protocol]}"}
        otlp.execute(f"fleet-{name}", "openllmetry", environment | otlp.PROGRAMS["openllmetry"] | settings | endpoint)
        otlp.look_at(otlp.wait_for_run(receiver, before), f"otlp-fleet-{name}")


ENCODINGS = {"protobuf": "otlp_proto", "json": "otlp_json"}


class Running:
    """A process that is ended at the end of a `with` statement."""

    def __init__(self, command, environment, **more):
        self.process = subprocess.Popen(command, env=environment, text=True, **({"stdin": subprocess.DEVNULL} | more))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(LIMIT_SECONDS)
        if self.process.stdin:
            self.process.stdin.close()


class Broker(Running):
    """A broker; its address is the first line that it prints."""

    def __init__(self, environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        super().__init__([environment["PYTHON"], BROKER], environment, **pipes)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise otlp.Failure("the broker did not start")


class Gateway(Running):
    """`retrace-gateway`; the log line that it is ready has its addresses."""

    def __init__(self, program, url, kafka, environment):
        listen = '[otlp]\nhttp = "127.0.0.1:0"\ngrpc = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
        waits = f'[traces]\nwait_seconds = 1\n[retrace]\nbase_url = "{url}"\n'
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(listen + waits + kafka)
            config.flush()
            super().__init__([program, "--config", config.name], environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            ready = next((line for line in self.process.stdout if "the gateway is ready" in line), "")
        # Nobody reads what it logs, and it must not wait for that.
        threading.Thread(target=lambda: collections.deque(self.process.stdout, maxlen=0), daemon=True).start()
        found = dict(re.findall(r'"(http|grpc)":"([^"]+)"', ready))
        if len(found) < 2:
            raise otlp.Failure("the gateway did not start")
        self.addresses = found


class Collector(Running):
    """Rotel, at free ports."""

    def __init__(self, exporter, environment):
        package = subprocess.check_output([environment["PYTHON"], "-c", "import rotel; print(rotel.__path__[0])"], text=True)
        program = Path(package.strip()) / "rotel-agent"
        program.chmod(0o755)
        self.addresses = {"grpc": free_address(), "http/protobuf": free_address()}
        listen = ["--otlp-grpc-endpoint", self.addresses["grpc"], "--otlp-http-endpoint", self.addresses["http/protobuf"]]
        super().__init__([program, "start", *listen, *exporter], environment, stdout=subprocess.DEVNULL)
        for address in self.addresses.values():
            self.wait_for(address)

    def wait_for(self, address):
        host, port = address.split(":")
        until = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=LIMIT_SECONDS):
                return
            time.sleep(0.05)
        raise otlp.Failure(f"the collector does not listen at {address}")


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
