"""The way to an SSH connection, through any number of hops: dialled, checked, logged in.

    driver == TCP ==> bastion == channel ==> gateway == channel ==> host

Every server on the way shows a key that is known before anything of ours is sent to it: no user
name, no public key, no byte of a further hop. The whole way has one time limit.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import paramiko

from actorrl.errors import HostError
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.launchers.connection import Connection, close_chain
from actorrl.runtime.launchers.known_hosts import (
    HostKey,
    KnownHosts,
    UnknownHostKey,
    Verdict,
    fingerprint,
    known_as,
)
from actorrl.runtime.launchers.login import log_in

MAX_AT_ONCE = 8  # logins on their way; servers and jump hosts refuse more (MaxStartups)
_DEAD_AFTER_MS = 45_000  # of a peer that acknowledges nothing
_SLACK_S = 1.0  # for a thread to notice its own limit
_PAUSES_S = (0.2, 1.0)  # before another try, doubled up to four times

_slots = threading.BoundedSemaphore(MAX_AT_ONCE)
# Its thread would print stacks of refused logins on the user's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def connect(spec: SshSpec, name: str, trust_options: str = "") -> Connection:
    """`name` is the host's in messages; `trust_options` go into the command that trusts its key.
    Raises HostError within `connect_timeout_s` (plus a second) after its turn has come."""
    with _slots:
        return _Attempt(spec, name, trust_options, log_in_last=True).run()


def ask_host_key(spec: SshSpec, name: str, trust_options: str = "") -> HostKey:
    """The key that a server shows, without logging in to it; hops have to be trusted."""
    with _slots:
        attempt = _Attempt(spec, name, trust_options, log_in_last=False)
        attempt.run().close()
        assert attempt.last_key is not None
        return attempt.last_key


class _TooBusy(Exception):
    """A server hung up before it said anything."""


class _Attempt:
    """One way to one host. The work is done on a thread of its own, since some of its waits have
    no limit (name resolution, the user's SSH agent)."""

    def __init__(self, spec: SshSpec, name: str, trust_options: str, log_in_last: bool) -> None:
        self._spec = spec
        self._name = name
        self._trust_options = trust_options
        self._log_in_last = log_in_last
        self._deadline = time.monotonic() + spec.connect_timeout_s
        self._stage = "starting"
        self._chain: list[Any] = []
        self._retries = 0
        self._error: Exception | None = None
        self._abandoned = False
        self._done = threading.Event()
        self.last_key: HostKey | None = None

    def run(self) -> Connection:
        threading.Thread(target=self._work, name=f"ssh {self._name}", daemon=True).start()
        if not self._done.wait(self._spec.connect_timeout_s + _SLACK_S):
            self._abandoned = True
            close_chain(self._chain)
            raise self._too_late()
        if self._error is not None:
            raise self._error
        return Connection(self._name, self._spec, self._chain, self._retries)

    def _work(self) -> None:
        try:
            self._go_with_retries()
        except Exception as error:  # raised again in the caller's thread
            self._error = error
        if self._error is not None or self._abandoned:
            close_chain(self._chain)
        self._done.set()

    def _go_with_retries(self) -> None:
        while True:
            try:
                self._go()
                return
            except _TooBusy as busy:
                close_chain(self._chain)
                self._chain = []
                pause = random.uniform(*_PAUSES_S) * 2 ** min(self._retries, 2)
                if time.monotonic() + pause > self._deadline or self._abandoned:
                    raise HostError(self._too_busy(str(busy))) from None
                self._retries += 1
                time.sleep(pause)

    def _go(self) -> None:
        way = [*self._spec.proxy_jump, self._spec]
        for hop in way:
            is_last = hop is way[-1]
            where = self._name if is_last else f"{self._name}: jump host {hop}"
            self._chain.append(transport := self._greet(self._dial(hop, where), hop, where))
            self.last_key = self._check_key(transport, hop, where)
            if not is_last or self._log_in_last:
                self._stage = f"{where}: logging in as {hop.user}"
                with self._limit(transport):
                    transport.auth_timeout = self._left()
                    log_in(transport, hop, where)

    # ---- one hop --------------------------------------------------------------------------------

    def _dial(self, hop: SshSpec, where: str) -> Any:
        self._stage = f"{where}: connecting to {hop.host}:{hop.port}"
        if self._chain:
            return self._dial_through(hop, where)
        try:
            sock = socket.create_connection((hop.host, hop.port), timeout=self._left())
        except OSError as error:
            raise HostError(f"{where}: " + _why_not_dialled(error, hop)) from None
        with contextlib.suppress(OSError, AttributeError):  # Linux has it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
        return sock

    def _dial_through(self, hop: SshSpec, where: str) -> Any:
        try:
            return self._chain[-1].open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=self._left()
            )
        except paramiko.ChannelException as error:
            why = error.text or "refused"
            raise HostError(
                f"{where}: the hop before it cannot reach {hop.host}:{hop.port} ({why})\n"
                "  the name and port have to be right as seen from that hop"
            ) from None

    def _greet(self, sock: Any, hop: SshSpec, where: str) -> Any:
        """Agree on keys with the server; nothing of the user is sent."""
        self._stage = f"{where}: greeting the SSH server at {hop.host}:{hop.port}"
        transport = paramiko.Transport(sock)
        known = KnownHosts(hop.known_hosts).key_types(_known_as(hop))
        _prefer(transport, known)
        transport.banner_timeout = self._left()
        try:
            transport.start_client(timeout=self._left())
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            self._left()
            if transport.remote_version == "":
                raise _TooBusy(f"{where}: {hop.host}:{hop.port}") from None
            raise HostError(
                f"{where}: no common way to encrypt with the SSH server at "
                f"{hop.host}:{hop.port} ({error})"
            ) from None
        if not transport.initial_kex_done:
            transport.close()
            raise self._too_late()
        return transport

    def _check_key(self, transport: Any, hop: SshSpec, where: str) -> HostKey:
        shown = transport.get_remote_server_key()
        key = HostKey(_known_as(hop), shown.get_name(), shown.asbytes())
        if hop is self._spec and not self._log_in_last:
            return key  # it is asked for, not used
        verdict, at = KnownHosts(hop.known_hosts).judge(key.name, key.blob)
        if verdict is Verdict.TRUSTED:
            return key
        transport.close()
        if verdict is Verdict.UNKNOWN:
            target = self._name if hop is self._spec else str(hop)
            raise UnknownHostKey(
                f"{where}: its host key is not known\n"
                f"  it shows {key.key_type} {fingerprint(key.blob)}\n"
                "  compare with the host's own: "
                "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n"
                f"  if they agree: actorrl hosts trust {target}{self._trust_options} "
                f"--fingerprint {fingerprint(key.blob)}",
                hop,
                key,
            )
        raise HostError(_not_trusted(where, verdict, at, key))

    # ---- limits ---------------------------------------------------------------------------------

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._too_late()
        return left

    @contextlib.contextmanager
    def _limit(self, transport: Any) -> Iterator[None]:
        """Some of paramiko's waits end only with their transport."""
        timer = threading.Timer(self._left(), transport.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (HostError, paramiko.SSHException, EOFError, OSError):
            if time.monotonic() >= self._deadline:
                raise self._too_late() from None
            raise
        finally:
            timer.cancel()

    def _too_late(self) -> HostError:
        return HostError(
            f"{self._stage}: no answer within {self._spec.connect_timeout_s:g} s\n"
            "  is it up, and does a firewall let this machine in?\n"
            "  for a slow way: ssh: {connect_timeout_s: SECONDS}"
        )

    def _too_busy(self, where: str) -> str:
        return (
            f"{where} hangs up before it says that it is an SSH server, "
            f"{self._retries + 1} times\n"
            "  too many logins at once (its MaxStartups), this address is shut out, or the port "
            "is another service's"
        )


# ---- words --------------------------------------------------------------------------------------


def _why_not_dialled(error: OSError, hop: SshSpec) -> str:
    at = f"{hop.host}:{hop.port}"
    if isinstance(error, socket.gaierror):
        return (
            f"the name {hop.host} is not known here ({error.strerror})\n"
            "  write its address, or give it a HostName in ~/.ssh/config"
        )
    if isinstance(error, TimeoutError):
        return (
            f"nothing answers at {at} within the time limit\n"
            "  is it up, and does a firewall let this machine in?\n"
            "  for a slow way: ssh: {connect_timeout_s: SECONDS}"
        )
    if error.errno == errno.ECONNREFUSED:
        return (
            f"the port {at} is closed\n"
            "  is the SSH server running, and is the port right? HOST:PORT, or ssh: {port: N}"
        )
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return (
            f"there is no route to {at} ({error.strerror})\n"
            "  is it up, and in a network of this machine? Else name a jump host: "
            "ssh: {proxy_jump: [HOST]}"
        )
    return f"{at} cannot be connected to ({error.strerror or error})"


def _not_trusted(where: str, verdict: Verdict, at: str, key: HostKey) -> str:
    if verdict is Verdict.REVOKED:
        return (
            f"{where}: it shows a host key that is revoked\n"
            f"  {key.key_type} {fingerprint(key.blob)}, revoked in {at}\n"
            "  nothing was sent to it; ask who runs the host"
        )
    file, _, _ = at.rpartition(":")
    return (
        f"{where}: ITS HOST KEY HAS CHANGED: it may be another machine, or somebody in between\n"
        f"  it shows {key.key_type} {fingerprint(key.blob)}; another one is known, in {at}\n"
        "  nothing was sent to it. Ask who runs the host; if it was set up anew, forget the old "
        f"key:\n  ssh-keygen -f {file} -R '{key.name}'"
    )


def _known_as(hop: SshSpec) -> str:
    return known_as(hop.host, hop.port, hop.host_key_alias)


def _prefer(transport: Any, known: list[str]) -> None:
    """Ask the server for a key of a known type, as far as there is one."""
    options = transport.get_security_options()
    wanted = [*known, *(["rsa-sha2-512", "rsa-sha2-256"] if "ssh-rsa" in known else [])]
    offered = list(options.key_types)
    options.key_types = sorted(offered, key=lambda key_type: key_type not in wanted)
