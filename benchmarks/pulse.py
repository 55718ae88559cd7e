"""When the machine itself was slow: a fixed piece of work, done every few milliseconds, tells.

On a shared machine it may take ten times as long for some hundredths of a second, in which nobody is quick.
"""

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from typing import Self

EVERY_S = 0.004
# Times the usual.
SLOW = 4.0
# What was under way shortly before or after was slow too.
EDGE_S = 0.01


class Pulse:
    """In a process of its own, between entering and leaving."""

    def __enter__(self) -> Self:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_beat, args=(theirs,), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send("end")
        beats: list[tuple[float, float]] = self.pipe.recv()
        self.process.join()
        usual = statistics.median(took for _, took in beats)
        self.slow = [(moment - EDGE_S, moment + took + EDGE_S) for moment, took in beats if took > SLOW * usual]

    def was_steady(self, began: float, ended: float) -> bool:
        """Between two moments of `time.time()`; known once the pulse has ended."""
        return not any(start < ended and began < end for start, end in self.slow)


def _beat(pipe: Connection) -> None:
    beats = []
    while not pipe.poll():
        moment, began = time.time(), time.thread_time()
        _work()
        # Of the processor's time: that others had their turn is no slowness of the machine.
        beats.append((moment, time.thread_time() - began))
        time.sleep(EVERY_S)
    pipe.send(beats)


def _work() -> None:
    texts = {}
    for n in range(400):
        texts[n % 50] = str(n)
