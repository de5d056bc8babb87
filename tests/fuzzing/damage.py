"""Damage to a file: what happens to recordings on their way through cameras, disks, copies and networks."""

from dataclasses import dataclass

from hypothesis import strategies as st

_ENDS = 600  # bytes at the beginning and at the end of a file that are hit as often as all the others: headers and tables of contents


@dataclass(frozen=True)
class Damage:
    """kind: "empty", "cut" (the first `at` bytes are left), "flips" (of the numbered bits), "lost" or "doubled" (`length` bytes from `at`
    on)."""

    kind: str
    at: int = 0
    length: int = 0
    bits: tuple[int, ...] = ()

    def of(self, content: bytes) -> bytes:
        """The damaged content."""
        if self.kind == "flips":
            changed = bytearray(content)
            for bit in self.bits:
                changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)
        head, part, tail = content[: self.at], content[self.at : self.at + self.length], content[self.at + self.length :]
        return {"empty": b"", "cut": head, "lost": head + tail, "doubled": head + part + part + tail}[self.kind]


def damages(size: int) -> st.SearchStrategy[Damage]:
    """Every kind of damage to a file of `size` bytes; cuts and flips, which are the usual ones, more often than the others."""
    places = st.one_of(st.integers(0, min(size, _ENDS) - 1), st.integers(max(0, size - _ENDS), size - 1), st.integers(0, size - 1))
    bits = st.lists(st.builds(lambda place, bit: 8 * place + bit, places, st.integers(0, 7)), min_size=1, max_size=8, unique=True)
    cuts = st.builds(lambda at: Damage("cut", at), st.one_of(places, st.integers(max(0, size - 40), size - 1)))
    flips = st.builds(lambda chosen: Damage("flips", bits=tuple(chosen)), bits)
    pieces = st.builds(Damage, st.sampled_from(["lost", "doubled"]), places, st.sampled_from([1, 2, 3, 4, 8, 16, 100, 512, 4096]))
    return st.one_of(cuts, flips, cuts, flips, pieces, st.just(Damage("empty")))
