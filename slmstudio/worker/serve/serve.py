"""The OpenAI-compatible server: an interactive worker that ends with whoever started it."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import uvicorn

from slmstudio.core import serving
from slmstudio.core.chat import gpu_layers
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock
from slmstudio.core.model.structure.gguf_model import read_sound_gguf
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.serve import connections, listening
from slmstudio.worker.serve.engine import Engine
from slmstudio.worker.serve.http_api import Api

DEFAULT_CONTEXT = 4096
MAX_SLOTS = 4
CACHE_SHARE = 4
"""The caches of all slots take at most one part in this many of the memory that is free."""
STATUS_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 30


class ServeService:
    """start {path, key, host, port, allow_network, context_length, parallel, gpu_layers} → serving, then status
    whenever it is different; stop → stopped. One process serves once: it listens before it is locked (`listening`)."""

    def __init__(self, emit: Callable[..., None]):
        self._emit = emit
        self._listener = listening.taken()
        self._engine: Engine | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def handle(self, message: dict[str, Any]) -> None:
        """Raises UserError: the model can't be loaded, or the process has served already."""
        command = message.get("command")
        if command == "start":
            self._start(message)
        elif command == "stop":
            self._stop()
            self._emit("stopped")
        else:
            raise UserError(f"The server doesn't know the command {command!r}.")

    def interrupt(self, message: dict[str, Any]) -> bool:
        """"close" ends everything before the process ends: llama.cpp must not compute while it is taken down."""
        if message.get("command") == "close":
            self._stop()
        return False

    def _start(self, message: dict[str, Any]) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            raise UserError(tr("This server has ended."), tr("Its process is locked, so it can't start listening "
                                                             "again."),
                            tr("Start another server."))
        host, path, key = message.get("host") or serving.LOOPBACK, Path(message["path"]), message["key"]
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
                   chat_template=self._engine.vocab.template is not None, lock=worker_lock.state().to_dict())

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
    """uvicorn in a thread; it reports requests as they come."""

    def __init__(self, api: Api, key: str, host: str, listener: socket.socket, emit: Callable[..., None]):
        limits = connections.Limits()
        super().__init__(uvicorn.Config(
            api.app(key, not serving.is_loopback(host)), log_config=None, access_log=False, lifespan="off", ws="none",
            http=cast(Any, functools.partial(connections.Connection, limits=limits)), backlog=limits.most,
            server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1, h11_max_incomplete_event_size=connections.HEADER_BYTES))
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


def _slots(cache_bytes: int) -> int:
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
