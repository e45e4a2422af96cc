"""FastChat's three processes as one: controller, model worker, and the OpenAI API in front of them.

Run by path with the Python of an environment that has ``fschat[model_worker]``; standard library alone. The API opens
its port once the worker has told the controller of itself, so that an open port means a model. If one of the three
ends, the others are ended.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.request

PAUSE_S = 1.0


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="fastchat_server", allow_abbrev=False)
    flags.add_argument("--model", required=True)
    flags.add_argument("--served-name", required=True)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--chats", type=int, required=True)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--conv-template", default="")
    return flags


def free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def listed(controller: str) -> list[str]:
    """Models that workers have told of; none while the controller does not answer."""
    request = urllib.request.Request(controller + "/list_models", method="POST")  # noqa: S310 -- our own address
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            models: list[str] = json.load(response)["models"]
    except OSError:
        return []
    return models


def main() -> int:
    flags = parser().parse_args()
    ports = [free_port(flags.host), free_port(flags.host)]
    controller, worker = (f"http://{flags.host}:{port}" for port in ports)

    def start(module: str, port: int, *more: str) -> subprocess.Popen[bytes]:
        words = ("--host", flags.host, "--port", str(port), *more)
        return subprocess.Popen([sys.executable, "-P", "-m", f"fastchat.serve.{module}", *words])

    template = ["--conv-template", flags.conv_template] if flags.conv_template else []
    running = [
        start("controller", ports[0]),
        start(
            "model_worker",
            ports[1],
            *("--controller-address", controller, "--worker-address", worker, "--model-path", flags.model),
            *("--model-names", flags.served_name, "--limit-worker-concurrency", str(flags.chats)),
            *("--device", flags.device, *template),
        ),
    ]
    try:
        while flags.served_name not in listed(controller):
            if any(process.poll() is not None for process in running):
                return 1
            time.sleep(PAUSE_S)
        running.append(start("openai_api_server", flags.port, "--controller-address", controller))
        while all(process.poll() is None for process in running):
            time.sleep(PAUSE_S)
    finally:
        for process in running:
            process.kill()
    return 1


if __name__ == "__main__":
    sys.exit(main())
