"""A program that drags files onto another one's window, as a file manager does: the XDND protocol, by libX11.

    python3 xdnd.py X Y FILE [FILE ...]       X Y: where to let go, in pixels of the screen

It runs beside Blender on the same screen. Leaves with status 0 when the target says that it took the drop, else with 1
and how far the two came. Protocol: freedesktop.org, "Drag-and-Drop Protocol for the X Window System", version 5.
"""

from __future__ import annotations

import ctypes
import sys
import time
from ctypes import POINTER, Structure, Union, byref, c_char_p, c_int, c_long, c_ubyte, c_uint, c_ulong, c_void_p, cast
from pathlib import Path

VERSION = 5
SELECTION_REQUEST, SELECTION_NOTIFY, CLIENT_MESSAGE = 30, 31, 33
CURRENT_TIME, REPLACE, ATOM = 0, 0, 4
WITHIN_S = 10.0


class _Message(Structure):
    _fields_ = (
        ("type", c_int),
        ("serial", c_ulong),
        ("send_event", c_int),
        ("display", c_void_p),
        ("window", c_ulong),
        ("message_type", c_ulong),
        ("format", c_int),
        ("data", c_long * 5),
    )


class _Request(Structure):
    _fields_ = (
        ("type", c_int),
        ("serial", c_ulong),
        ("send_event", c_int),
        ("display", c_void_p),
        ("owner", c_ulong),
        ("requestor", c_ulong),
        ("selection", c_ulong),
        ("target", c_ulong),
        ("property", c_ulong),
        ("time", c_ulong),
    )


class _Notice(Structure):
    _fields_ = (
        ("type", c_int),
        ("serial", c_ulong),
        ("send_event", c_int),
        ("display", c_void_p),
        ("requestor", c_ulong),
        ("selection", c_ulong),
        ("target", c_ulong),
        ("property", c_ulong),
        ("time", c_ulong),
    )


class _Event(Union):
    _fields_ = (
        ("type", c_int),
        ("message", _Message),
        ("request", _Request),
        ("notice", _Notice),
        ("pad", c_long * 24),
    )


class Drag:
    """One drag of files to a place on the screen."""

    def __init__(self, files: list[Path]) -> None:
        self.text = b"".join(file.resolve().as_uri().encode() + b"\r\n" for file in files)
        self.x = x = ctypes.CDLL("libX11.so.6")
        x.XOpenDisplay.restype = c_void_p
        x.XDefaultRootWindow.restype = x.XCreateSimpleWindow.restype = x.XInternAtom.restype = c_ulong
        self.display = c_void_p(x.XOpenDisplay(None))
        if not self.display:
            sys.exit("there is no screen")
        self.root = c_ulong(x.XDefaultRootWindow(self.display))
        self.window = x.XCreateSimpleWindow(self.display, self.root, 0, 0, 1, 1, 0, c_ulong(0), c_ulong(0))
        x.XSetSelectionOwner(self.display, c_ulong(self.atom("XdndSelection")), c_ulong(self.window), c_ulong(0))

    def atom(self, name: str) -> int:
        return self.x.XInternAtom(self.display, c_char_p(name.encode()), 0)

    def target(self) -> int:
        """The window that takes drops; 0 if none does."""
        root, parent, count, children = c_ulong(), c_ulong(), c_uint(), POINTER(c_ulong)()
        self.x.XQueryTree(self.display, self.root, byref(root), byref(parent), byref(children), byref(count))
        for index in range(count.value):
            kind, format_, items, left, data = c_ulong(), c_int(), c_ulong(), c_ulong(), POINTER(c_ubyte)()
            answer = (byref(kind), byref(format_), byref(items), byref(left), byref(data))
            aware = c_ulong(self.atom("XdndAware"))
            asked = (c_ulong(children[index]), aware, c_long(0), c_long(1), 0, c_ulong(ATOM))
            self.x.XGetWindowProperty(self.display, *asked, *answer)
            if items.value:
                return children[index]
        return 0

    def send(self, target: int, name: str, *data: int) -> None:
        event = _Event()
        message = event.message
        message.type, message.window, message.message_type, message.format = CLIENT_MESSAGE, target, self.atom(name), 32
        for index, value in enumerate((self.window, *data)):
            message.data[index] = value
        self.x.XSendEvent(self.display, c_ulong(target), 0, c_long(0), byref(event))
        self.x.XFlush(self.display)

    def answer(self, wanted: str) -> _Message | None:
        """Hand over the files' names when asked for them, until that message comes; None if it does not come."""
        until, event = time.monotonic() + WITHIN_S, _Event()
        while time.monotonic() < until:
            if not self.x.XPending(self.display):
                time.sleep(0.005)
                continue
            self.x.XNextEvent(self.display, byref(event))
            if event.type == SELECTION_REQUEST:
                self._hand_over(event.request)
            if event.type == CLIENT_MESSAGE and event.message.message_type == self.atom(wanted):
                return event.message
        return None

    def _hand_over(self, request: _Request) -> None:
        data = cast(c_char_p(self.text), POINTER(c_ubyte))
        place = (c_ulong(request.requestor), c_ulong(request.property), c_ulong(request.target))
        self.x.XChangeProperty(self.display, *place, 8, REPLACE, data, len(self.text))
        event = _Event()
        event.notice.type, event.notice.requestor = SELECTION_NOTIFY, request.requestor
        event.notice.selection, event.notice.target = request.selection, request.target
        event.notice.property, event.notice.time = request.property, request.time
        self.x.XSendEvent(self.display, c_ulong(request.requestor), 0, c_long(0), byref(event))
        self.x.XFlush(self.display)

    def drop(self, x: int, y: int) -> str:
        """Drag to that place and let go; "" or what went wrong."""
        target = self.target()
        if not target:
            return "no window takes drops"
        self.x.XWarpPointer(self.display, c_ulong(0), self.root, 0, 0, 0, 0, x, y)
        self.send(target, "XdndEnter", VERSION << 24, self.atom("text/uri-list"), 0, 0)
        for step in (40, 20, 0):  # a hand comes from somewhere
            place = (x - step) << 16 | (y - step)
            self.send(target, "XdndPosition", 0, place, CURRENT_TIME, self.atom("XdndActionCopy"))
            status = self.answer("XdndStatus")
            if status is None:
                return "no answer to the drag"
        if not status.data[1] & 1:
            return "the window does not want the files"
        self.send(target, "XdndDrop", 0, CURRENT_TIME)
        finished = self.answer("XdndFinished")
        return "" if finished is not None else "the files were let go, and no answer came"


if __name__ == "__main__":
    sys.exit(Drag([Path(name) for name in sys.argv[3:]]).drop(int(sys.argv[1]), int(sys.argv[2])) or 0)
