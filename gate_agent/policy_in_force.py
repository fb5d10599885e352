"""The policy by which a box decides: its own file's, until a signed list brings the centre's."""

from __future__ import annotations

import logging
from collections.abc import Callable

from admission.policy import Policy
from config.loader import SettingsError
from config.policy_file import read_policy

log = logging.getLogger(__name__)


class PolicyInForce:
    """Hands over the policy that a list brought, if it can be used; `problem` says why the one before still holds."""

    def __init__(self, site_id: str, policy: Policy, on_change: Callable[[Policy], None]) -> None:
        self.policy = policy
        self.problem = ""
        self._site_id = site_id
        self._on_change = on_change

    def take(self, document: str) -> None:
        """Put the policy that `document` describes in force; an empty one changes nothing."""
        if not document or document == self.policy.document:
            self.problem = ""
            return
        try:
            policy = _usable(document, self._site_id)
        except SettingsError as error:
            self.problem = f"the policy that came with the list cannot be used: {'; '.join(error.problems)}"
            log.warning("policy refused", extra={"problems": error.problems, "in_force": self.policy.version})
            return
        log.info("policy in force", extra={"version": policy.version, "before": self.policy.version})
        self.policy, self.problem = policy, ""
        self._on_change(policy)


def _usable(document: str, site_id: str) -> Policy:
    """Return the policy that `document` describes; SettingsError when it is none, or does not know the site."""
    policy = read_policy(document)
    if site_id not in policy.sites:
        raise SettingsError((f"site {site_id!r} is not in the policy {policy.version}",))
    return policy
