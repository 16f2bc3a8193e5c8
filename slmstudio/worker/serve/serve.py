"""The OpenAI-compatible server: an interactive worker that ends with whoever started it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn

from slmstudio.core import serving
from slmstudio.core.chat import gpu_layers
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.model.structure.gguf_model import read_sound_gguf
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.serve.engine import Engine
from slmstudio.worker.serve.http_api import Api

DEFAULT_CONTEXT = 4096
MAX_SLOTS = 4
CACHE_SHARE = 4
"""The caches of all slots take at most one part in so many of the memory that is free."""
STATUS_SECONDS = 0.25
BACKLOG = 256


class ServeService:
    """start {path, key, host, port, allow_network, context_length, parallel, gpu_layers} → serving, then status
    whenever it is different; stop → stopped."""

    def __init__(self, emit: Callable[..., None]):
        self._emit = emit
        self._engine: Engine | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def handle(self, message: dict[str, Any]) -> None:
        """
        Raises:
            UserError: the address cannot be used, or the model not be loaded.
        """
        command = message.get("command")
        if command == "start":
            try:
                self._start(message)
            except serving.PortInUse as error:
                self._emit("error", error=error.to_dict(), free_port=error.free_port)
        elif command == "stop":
            self._stop()
            self._emit("stopped")
        else:
            raise UserError(f"The server does not know the command {command!r}.")

    def interrupt(self, message: dict[str, Any]) -> bool:
        """"close" ends everything before the process ends: llama.cpp must not compute while it is taken down."""
        if message.get("command") == "close":
            self._stop()
        return False

    def _start(self, message: dict[str, Any]) -> None:
        self._stop()
        host, port = message.get("host") or serving.LOOPBACK, message.get("port")
        serving.check_host(host, bool(message.get("allow_network")))
        path, key = Path(message["path"]), message["key"]
        if not key:
            raise UserError("The server needs a key.", "Without one, any program could use it.", "Make a new key.")
        listener = _listen(host, serving.DEFAULT_PORT if port is None else port, search=port is None)
        try:
            facts = read_sound_gguf(path)
            wanted = message.get("context_length") or DEFAULT_CONTEXT
            length = min(wanted, facts.context_length or wanted)
            shape = gpu_layers.read_shape(path)
            slots = message.get("parallel") or _slots(gpu_layers.cache_bytes(shape, length))
            self._engine = _load(path, length, slots, shape, message.get("gpu_layers"))
        except BaseException:
            listener.close()
            raise
        api = Api(self._engine, path.stem)
        self._server = server = _Server(api, key, host, listener, self._emit)
        self._thread = threading.Thread(target=server.run, name="http", daemon=True)
        self._thread.start()
        server.ready.wait()
        self._emit("serving", url=serving.url(host, listener.getsockname()[1]), host=host,
                   port=listener.getsockname()[1], model=api.name, pid=os.getpid(),
                   context_length=self._engine.context_length, parallel=slots,
                   chat_template=self._engine.vocab.template is not None)

    def _stop(self) -> None:
        server, self._server = self._server, None
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        if server is not None:
            server.should_exit = True
            assert self._thread is not None
            self._thread.join(2)


class _Server(uvicorn.Server):
    """uvicorn in a thread; it tells of requests as they come."""

    def __init__(self, api: Api, key: str, host: str, listener: socket.socket, emit: Callable[..., None]):
        super().__init__(uvicorn.Config(
            api.app(key, not serving.is_loopback(host)), log_config=None, access_log=False, lifespan="off", ws="none",
            http="h11", server_header=False, timeout_keep_alive=30, timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=2**16))
        self.ready = threading.Event()
        self._api, self._listener, self._emit = api, listener, emit

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.run(self._serve_and_tell())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def _serve_and_tell(self) -> None:
        telling = asyncio.create_task(self._tell())
        try:
            await self.serve([self._listener])
        finally:
            telling.cancel()

    async def _tell(self) -> None:
        """At most four times a second, however many requests come."""
        told: dict[str, Any] = {}
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            now = {**asdict(self._api.status), "active": self._api.engine.active()}
            if now != told:
                told = now
                self._emit("status", **now)


def _listen(host: str, port: int, search: bool) -> socket.socket:
    """A socket that listens at the address, or at the next free port.

    Raises:
        serving.PortInUse: another program listens there.
        UserError: the address is none of this machine's.
    """
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if sys.platform != "win32":
            # Just after a stop the port is still remembered; on Windows the flag would let two programs share it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            return listener
        except OSError as error:
            listener.close()
            free = serving.free_port(host, port + 1)
            refusal = serving.bind_error(error, host, port, free)
            if not search or free is None or not isinstance(refusal, serving.PortInUse):
                raise refusal from error
            port, search = free, False


def _slots(cache_bytes: int) -> int:
    """How many caches fit into a part of the free memory."""
    import psutil

    return max(1, min(MAX_SLOTS, psutil.virtual_memory().available // CACHE_SHARE // max(1, cache_bytes)))


def _load(path: Path, context_length: int, slots: int, shape: gpu_layers.Shape, layers: int | None) -> Engine:
    """Load a model onto the card as far as it fits, or onto the processor where the card refuses after all."""
    import llama_cpp

    if layers is None:
        layers = gpu_layers.choose(shape, context_length * slots, read_gpus()[0],
                                   supported=bool(llama_cpp.llama_supports_gpu_offload()),
                                   training=run_folder.running() is not None).layers
    try:
        return Engine(path, context_length, slots, layers)
    except UserError:
        if layers == 0:
            raise
        return Engine(path, context_length, slots, 0)


def create(emit: Callable[..., None]) -> ServeService:
    return ServeService(emit)
