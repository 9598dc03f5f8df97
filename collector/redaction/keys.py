"""The keys for tokens, of one tenant or of many: where they come from, and whose is which."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controltower.collector.errors import SettingsError
from controltower.tracer.tokens import BadKeyError, Key, parse_keys, read_key_file

VARIABLE: Final = "CONTROLTOWER_REDACTION_KEY"
MOST_TENANTS: Final = 100  # with keys of their own
EVERY_TENANT: Final = ""  # whose keys are those of each tenant that has none of its own


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of each tenant, all of the same versions, so that no token joins what is of two tenants."""

    by_tenant: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)

    def of(self, tenant: str) -> tuple[Key, ...]:
        """Return the keys for what is *tenant*'s: its own, else those of every tenant, else none."""
        return self.by_tenant.get(tenant, self.by_tenant.get(EVERY_TENANT, ()))

    @property
    def some(self) -> tuple[Key, ...]:
        """Return the keys of one tenant: as many as each has, and of the versions that each has."""
        return next(iter(self.by_tenant.values()), ())

    def secrets(self) -> dict[str, tuple[bytes, ...]]:
        """Return the secrets of each tenant, as ``by_tenant`` has the keys."""
        return {tenant: tuple(key.secret for key in keys) for tenant, keys in self.by_tenant.items()}


def read_keys(environment: Mapping[str, str]) -> Keys:
    """Return the keys of ``CONTROLTOWER_REDACTION_KEY`` or of the file that ``…_FILE`` names; none when neither is set.

    ``tracer.tokens`` says in which form. SettingsError never shows the value.
    """
    text, variable = environment.get(VARIABLE, ""), VARIABLE
    named = environment.get(f"{VARIABLE}_FILE", "")
    if named and text:
        raise SettingsError(f"{variable}_FILE", named, f"{VARIABLE} is set, too; keep one of them")
    try:
        if named:
            variable = f"{VARIABLE}_FILE"
            text = read_key_file(Path(named))
        keys = Keys(parse_keys(text))
    except BadKeyError as exc:
        raise SettingsError(variable, named or "…", str(exc)) from None
    if problem := _contradiction(keys):
        raise SettingsError(variable, "…", problem)
    return keys


def _contradiction(keys: Keys) -> str:
    """Return what is wrong with the keys of several tenants together; nothing when they can be used."""
    if len(keys.by_tenant) > MOST_TENANTS:
        return f"it holds keys of {len(keys.by_tenant)} tenants; {MOST_TENANTS} are the most"
    for tenant, own in keys.by_tenant.items():
        if [key.version for key in own] != [key.version for key in keys.some]:
            whose = f" of {tenant}" if tenant else ""
            return f"the keys{whose} have other versions than those before them; all tenants change keys together"
    secrets = [key.secret for own in keys.by_tenant.values() for key in own]
    if len(set(secrets)) < len(secrets) and len(keys.by_tenant) > 1:
        return "one key is there twice; tokens of two tenants would be the same"
    return ""
