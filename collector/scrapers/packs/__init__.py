"""Ready files of sources, to copy and change: one for each kind of system that many have."""

from importlib.resources import files


def packs() -> dict[str, str]:
    """Return the text of each file by its name."""
    folder = files("controltower.collector.scrapers.packs")
    found = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def grok_patterns() -> str:
    """Return the text of the patterns that expressions may name."""
    return (files("controltower.collector.scrapers.packs") / "patterns.grok").read_text(encoding="utf-8")
