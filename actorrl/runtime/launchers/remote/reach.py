"""Who can be connected to from here. Listens on one port, whose visitors are told a word; then
tries the listeners of the others, and listens until its standard input ends."""

import fcntl
import json
import selectors
import socket
import struct
import threading
import time

GET_ADDRESS = 0x8915  # SIOCGIFADDR


def main(told: dict, data: object) -> dict:
    listener = listen(told["first"], told["last"])
    word = told["word"].encode()
    if listener is not None:
        threading.Thread(target=greet, args=(listener, word), daemon=True).start()
    port = listener.getsockname()[1] if listener is not None else None
    say(told["mark"], {"port": port, "interfaces": interfaces()})
    while True:
        line = data.readline()  # type: ignore
        if not line:
            return {"ended": True}
        wanted = json.loads(line.decode())
        say(told["mark"], {"reached": dial(wanted["targets"], wanted["timeout_s"])})


def say(mark: str, answer: dict) -> None:
    print("\n" + mark, json.dumps(answer), flush=True)


def listen(first: int, last: int):  # type: ignore[no-untyped-def]
    for port in range(first, last + 1):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
    return None


def greet(listener: socket.socket, word: bytes) -> None:
    while True:
        try:
            visitor, _ = listener.accept()
            visitor.settimeout(5)
            visitor.sendall(word)
            visitor.close()
        except OSError:
            if listener.fileno() < 0:
                return


def interfaces() -> dict:
    """Interface -> its IPv4 address, less the loopback one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            try:
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(asker.fileno(), GET_ADDRESS, request)
            except OSError:  # it has none
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                found[name] = address
    return found


def dial(targets: list, timeout_s: float) -> dict:
    """Name -> the first address that answered with the target's word."""
    selector = selectors.DefaultSelector()
    answers = {}  # type: dict
    for target in targets:
        for order, address in enumerate(target["addresses"]):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((address, target["port"]))
            entry = (target["name"], order, address, target["word"].encode())
            selector.register(sock, selectors.EVENT_READ, entry)
    deadline = time.monotonic() + timeout_s
    while selector.get_map() and time.monotonic() < deadline:
        for key, _ in selector.select(deadline - time.monotonic()):
            name, order, address, word = key.data
            selector.unregister(key.fileobj)
            if hears(key.fileobj, word):
                answers.setdefault(name, []).append((order, address))
            key.fileobj.close()  # type: ignore
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore
    return {name: min(found)[1] for name, found in answers.items()}


def hears(sock: object, word: bytes) -> bool:
    """A word is short: it comes in one piece."""
    try:
        return sock.recv(len(word)) == word  # type: ignore
    except OSError:
        return False
