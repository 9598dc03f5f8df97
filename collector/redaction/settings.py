"""What an operator says about redaction: the policy and the keys, read once when the collector starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controltower.collector.redaction.keys import VARIABLE as KEY_VARIABLE
from controltower.collector.redaction.keys import Keys, read_keys
from controltower.collector.redaction.policy import Policy, default_policy, load_policy
from controltower.collector.redaction.redactor import TenantRedactor

POLICY_VARIABLE: Final = "CONTROLTOWER_REDACTION_POLICY"
VARIABLES: Final = (POLICY_VARIABLE, KEY_VARIABLE, f"{KEY_VARIABLE}_FILE")


@dataclass(frozen=True, slots=True)
class Redaction:
    """The policy in force, and the keys for its tokens; without keys, what should become a token is dropped."""

    policy: Policy
    keys: Keys = field(default_factory=Keys)

    def redactor(self) -> TenantRedactor:
        """Return what redacts the requests of sources of class ``phi``."""
        return TenantRedactor(self.policy, self.keys)


def read_redaction(environment: Mapping[str, str]) -> Redaction:
    """Return policy and keys from *environment*. PolicyError and SettingsError say what is wrong, and no key."""
    file = environment.get(POLICY_VARIABLE, "")
    return Redaction(load_policy(Path(file)) if file else default_policy(), read_keys(environment))
