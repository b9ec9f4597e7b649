"""What the palette offers: what the keys of the screen do, the screens, other colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.types import IgnoreReturnCallbackType

from wfkit_tui import keys

_ELSEWHERE = ("app.", "screen.", "go(", "move(", "page(", "first", "last", "command_palette")
"""Actions that are offered by another name, or that are of no use when they are chosen from a list."""


class _Offer(NamedTuple):
    name: str
    key: str
    act: IgnoreReturnCallbackType


class _Offered(DiscoveryHit):
    """An offer in its place: Textual would sort them by their names."""

    place = 0

    def __lt__(self, other: object) -> bool:
        return isinstance(other, _Offered) and other.place < self.place


class Offers(Provider):
    """One line for each: its key, and what it does."""

    async def discover(self) -> Hits:
        for place, offer in enumerate(self._offers()):
            hit = _Offered(_line(offer.key, Content(offer.name)), offer.act, offer.name)
            hit.place = place
            yield hit

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for offer in self._offers():
            if (score := matcher.match(offer.name)) > 0:
                yield Hit(score, _line(offer.key, matcher.highlight(offer.name)), offer.act, offer.name)

    def _offers(self) -> Iterator[_Offer]:
        app, offered = self.app, dict[str, ActiveBinding]()
        for active in sorted(self.screen.active_bindings.values(), key=_rank):
            binding = active.binding
            if binding.action.startswith(_ELSEWHERE) or binding.system or not active.enabled:
                continue
            known = offered.get(binding.description)
            if known is None or len(binding.key) < len(known.binding.key):
                offered[binding.description] = active
        for name, (node, binding, _, _) in offered.items():
            act = lambda node=node, action=binding.action: app.run_worker(app.run_action(action, node))  # noqa: E731
            yield _Offer(name, app.get_key_display(binding), act)
        for key, name, title in keys.SCREENS:
            yield _Offer(f"Go to {title}", key, lambda name=name: app.run_worker(app.run_action(f"app.go({name!r})")))
        yield _Offer("Choose other colours", "", app.action_change_theme)


def _rank(active: ActiveBinding) -> int:
    """What belongs to the pane and the screen comes before what works everywhere."""
    return 2 if isinstance(active.node, App) else 1 if active.binding.action in _OF_FRAMES else 0


_OF_FRAMES = {one.action for one in keys.FRAME if isinstance(one, Binding)}


def _line(key: str, name: Content) -> Content:
    return Content.assemble((f"{key:<7}", "dim"), name)
