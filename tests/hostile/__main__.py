"""The table: `python -m tests.hostile [NAME ...]` (`make hostile`)."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from grading.overlay import solved_tree
from grading.sealed import isolation
from tests.hostile import suite


def main(names: list[str]) -> int:
    """Grade all submissions (or those named) each way; 1 if one gained or harmed, sealed."""
    isolation.chosen("sealed")
    chosen = [a for a in suite.attacks() if not names or a.name in names]
    bad, idle, start = [], [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        solved = solved_tree(Path(place, "solved"))
        sys.path.insert(0, str(solved))
        for number, attack in enumerate(chosen):
            behind = suite.sealed(attack, solved, Path(place, f"{number}-sealed"))
            cold = suite.cold(attack, solved, Path(place, f"{number}-cold"))
            without = suite.unsealed(attack, solved, Path(place, f"{number}-bare"))
            if behind.above or behind.harm or cold.above or cold.harm:
                bad.append(attack.name)
            if not (without.above or without.harm):
                idle.append(attack.name)
            print(f"{attack.name} ({behind.seconds:.1f} s): {attack.what}")
            print(f"  sealed:     {_said(behind)}")
            print(f"  no zygote:  {_said(cold)}")
            print(f"  {attack.shown + ':':12}{_said(without)}")
            for text in behind.evidence[:3]:
                print(f"  noticed:    {text}")
    groups = Counter(attack.path.parent.name for attack in chosen)
    aimed = sum(attack.aimed == "design" for attack in chosen)
    print(f"\n{len(chosen)} submissions {dict(groups)}, {aimed} aimed at this design")
    print(f"sealed, above the honest score or harmful: {len(bad)} {bad or ''}")
    print(f"without the wall, successful: {len(chosen) - len(idle)}; not: {len(idle)} {idle or ''}")
    if suite.warm.reason():
        print(f"no worker was warm: {suite.warm.reason()}")
    print(f"{time.monotonic() - start:.0f} s")
    return int(bool(bad or idle))


def _said(result: suite.Result) -> str:
    points = " ".join(f"{name} {value:g}" for name, value in result.points.items())
    gained = f"GAINED {', '.join(result.above)}" if result.above else "nothing gained"
    return f"{points or 'no grade'}; {gained}; {', '.join(result.harm) or 'no harm'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
