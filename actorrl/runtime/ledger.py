"""What an actor has sent, taken and achieved, in memory that outlives it: so a fault's loss is
counted, not estimated.

Every slot has a page of shared memory per incarnation, kept by the agent. For each stream out of
the slot it holds which element lies in which slot of the credit; for each stream in, which element
was last taken, and last done with. Whoever outlives the other compares both pages, at the moment
when the dead one's page can change no more and nothing of it will be taken any more:

    the target has ended        the source compares: what it sent and was not done with is lost
    the source has ended        the target compares, when the source's successor is up: what was
                                sent and not taken is lost
    both have ended             the target's successor compares the pages of the two

A page also has room for the numbers that a role wants its successor to find (`notes`): what was in
a replay shard, how many updates a learner had made. Pages of the last `_PAGES` incarnations are
kept. Between hosts there is no such memory: then all that was in flight counts as lost, and the
event says that this is an upper bound.

Every word is written by one process, one store each. A process killed between two stores, a
microsecond apart, may make a count wrong by one element.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from actorrl.runtime.program import Link, Stream

_PAGES = 8
_BANKS = 4  # incarnations of one source that may be heard before the newest table is
_MAX_NOTES = 8
_INCARNATION, _NOTES = 0, 1  # words of a page; then the edges
_EDGES = _NOTES + _MAX_NOTES
_WORD_NBYTES = 8

# slot, bytes -> words (int64) that are zero when new; None where there is no such memory
OpenPages = Callable[[str, int], memoryview | None]


class Loss(NamedTuple):
    """What a fault has lost on one edge of a stream."""

    link: str
    source: str
    target: str
    elements: int
    rows: int  # in them, as the source said
    exact: bool  # else an upper bound


@dataclasses.dataclass(frozen=True)
class _Edge:
    """Where a page holds one end of a stream: the peer's incarnation, then two words per slot of
    the credit. Outgoing: number and rows of the element in flight. Incoming: number of the element
    taken, and of the one done with; in banks, since a source's successor may be heard while its
    predecessor's last words are still on their way."""

    offset: int
    credit: int

    def bank(self, incarnation: int) -> _Edge:
        return _Edge(self.offset + incarnation % _BANKS * self.num_words, self.credit)

    @property
    def num_words(self) -> int:
        return 1 + 2 * self.credit

    def first(self, slot: int) -> int:
        return self.offset + 1 + 2 * slot

    def second(self, slot: int) -> int:
        return self.offset + 2 + 2 * slot


class _Layout:
    """The same for everybody: it follows from the Program's links."""

    def __init__(self, slot: str, links: Mapping[str, Link]) -> None:
        self.out: dict[tuple[str, str], _Edge] = {}
        self.into: dict[tuple[str, str], _Edge] = {}
        offset = _EDGES
        for name in sorted(links):
            link = links[name]
            if not isinstance(link.kind, Stream):
                continue
            for target in link.targets if slot in link.sources else ():
                edge = self.out[name, target] = _Edge(offset, link.kind.credit)
                offset += edge.num_words
            for source in link.sources if slot in link.targets else ():
                edge = self.into[name, source] = _Edge(offset, link.kind.credit)
                offset += _BANKS * edge.num_words
        self.num_words = offset
        self.nbytes = _PAGES * offset * _WORD_NBYTES


def _clear(page: memoryview, edge: _Edge) -> None:
    for slot in range(edge.credit):
        page[edge.first(slot)] = page[edge.second(slot)] = 0


class Ledger:
    """One actor's own page, and a look at those of its peers. Used by the actor's main thread."""

    def __init__(
        self, slot: str, incarnation: int, links: Mapping[str, Link], open_pages: OpenPages
    ) -> None:
        self._slot = slot
        self._incarnation = incarnation
        self._links = links
        self._open_pages = open_pages
        self._layouts: dict[str, _Layout] = {}
        self._memory: dict[str, memoryview | None] = {}
        self._layout = self._layout_of(slot)
        page = self._page(slot, incarnation, anew=True)
        # without memory the counting goes on for this process alone
        self._own = (
            page if page is not None else memoryview(bytearray(self._layout.nbytes)).cast("q")
        )
        self._own[_INCARNATION] = incarnation

    def _layout_of(self, slot: str) -> _Layout:
        if slot not in self._layouts:
            self._layouts[slot] = _Layout(slot, self._links)
        return self._layouts[slot]

    def _page(self, slot: str, incarnation: int, anew: bool = False) -> memoryview | None:
        """The page of an incarnation; None if it is not there (any more)."""
        layout = self._layout_of(slot)
        if slot not in self._memory:
            self._memory[slot] = self._open_pages(slot, layout.nbytes)
        memory = self._memory[slot]
        if memory is None or incarnation < 1:
            return None
        start = (incarnation % _PAGES) * layout.num_words
        page = memory[start : start + layout.num_words]
        if anew:
            page[:] = memoryview(bytes(layout.num_words * _WORD_NBYTES)).cast("q")
        return page if anew or page[_INCARNATION] == incarnation else None

    # ---- notes --------------------------------------------------------------------------

    def note(self, values: Iterable[int]) -> None:
        for index, value in enumerate(values):
            self._own[_NOTES + index] = value

    def notes_of_predecessor(self, count: int) -> list[int] | None:
        """What the incarnation before this one noted last; None if there is no page of it."""
        assert count <= _MAX_NOTES
        page = self._page(self._slot, self._incarnation - 1)
        return None if page is None else list(page[_NOTES : _NOTES + count])

    # ---- what goes out ------------------------------------------------------------------

    def sent(self, link: str, target: str, slot: int, number: int, rows: int) -> None:
        edge = self._layout.out[link, target]
        self._own[edge.second(slot)] = rows
        self._own[edge.first(slot)] = number

    def unsent(self, link: str, target: str, slot: int) -> None:
        """The line did not take it."""
        self._own[self._layout.out[link, target].first(slot)] = 0

    def meet_target(self, link: str, target: str, incarnation: int) -> Loss | None:
        """The target is this incarnation now, 0 if it is down: what its predecessor, which has
        ended, was sent and was not done with."""
        edge = self._layout.out[link, target]
        before = self._own[edge.offset]
        if before == incarnation:
            return None
        loss = None
        if before:
            theirs = self._page(target, before)
            loss = self._compare(link, self._slot, target, self._own, theirs, self._incarnation, 2)
        _clear(self._own, edge)
        self._own[edge.offset] = incarnation
        return loss

    # ---- what comes in ------------------------------------------------------------------

    def taken(self, link: str, source: str, incarnation: int, slot: int, number: int) -> None:
        """An element is handed to the actor; it comes from the source's present incarnation."""
        edge = self._into(link, source, incarnation)
        if edge is None or not 0 <= slot < edge.credit:
            return
        if self._own[edge.offset] != incarnation:
            _clear(self._own, edge)
            self._own[edge.offset] = incarnation
        self._own[edge.first(slot)] = number

    def done(self, link: str, source: str, incarnation: int, slot: int, number: int) -> None:
        """The actor is done with it, and its credit goes back."""
        edge = self._into(link, source, incarnation)
        if edge is not None and 0 <= slot < edge.credit and self._own[edge.offset] == incarnation:
            self._own[edge.second(slot)] = number

    def _into(self, link: str, source: str, incarnation: int) -> _Edge | None:
        edge = self._layout.into.get((link, source))
        return edge.bank(incarnation) if edge is not None else None

    def meet_source(self, source: str, incarnation: int) -> list[Loss]:
        """The source's incarnation `incarnation` is up: what its predecessors, which have ended,
        had sent here, to this actor or to its own predecessor, and nobody has compared yet."""
        losses: list[Loss | None] = []
        for link, name in self._layout.into:
            if name != source:
                continue
            edge = self._layout_of(source).out[link, self._slot]
            for ended in range(max(1, incarnation - _PAGES + 1), incarnation):
                page = self._page(source, ended)
                if page is None:
                    continue
                losses.append(self._held_by_predecessors(link, source, page, ended))
                if to := page[edge.offset]:
                    mine = self._own if to == self._incarnation else self._page(self._slot, to)
                    word = 1 if to == self._incarnation else 2
                    losses.append(self._compare(link, source, self._slot, page, mine, ended, word))
                    page[edge.offset] = 0  # compared; its owner has ended
                    if word == 2:
                        _clear(page, edge)
        return [loss for loss in losses if loss is not None]

    def _held_by_predecessors(
        self, link: str, source: str, sent: memoryview, ended: int
    ) -> Loss | None:
        """A source ended, and an incarnation of ours compared: what that one had taken was not lost
        until it ended itself, not done with it."""
        out = self._layout_of(source).out[link, self._slot]
        into = self._layout.into[link, source].bank(ended)
        elements = rows = 0
        for incarnation in range(max(1, self._incarnation - _PAGES + 1), self._incarnation):
            page = self._page(self._slot, incarnation)
            if page is None or page[into.offset] != ended or sent[out.offset] == incarnation:
                continue
            for slot in range(into.credit):
                number = page[into.first(slot)]
                if number and page[into.second(slot)] != number and sent[out.first(slot)] == number:
                    elements += 1
                    rows += sent[out.second(slot)]
                    sent[out.first(slot)] = 0  # counted; its owner has ended
        return Loss(link, source, self._slot, elements, rows, True) if elements else None

    def _compare(
        self,
        link: str,
        source: str,
        target: str,
        sent: memoryview,
        received: memoryview | None,
        source_incarnation: int,
        word: int,
    ) -> Loss | None:
        """`word` is 1 to compare with what was taken, 2 with what was done with."""
        out = self._layout_of(source).out[link, target]
        into = self._layout_of(target).into[link, source].bank(source_incarnation)
        heard = received is not None and received[into.offset] == source_incarnation
        elements = rows = 0
        for slot in range(out.credit):
            number = sent[out.first(slot)]
            if not number:
                continue
            if heard and received is not None and received[into.offset + word + 2 * slot] == number:
                continue
            elements += 1
            rows += sent[out.second(slot)]
        if not elements:
            return None
        return Loss(link, source, target, elements, rows, exact=received is not None)
