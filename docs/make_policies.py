"""Write docs/reference/policies.md from the rules and fields of policies; run `make settings-doc`."""

import sys
from pathlib import Path

from pipeline.service.face_policy import FACE_DEFAULTS
from pipeline.service.policy_change import LOOSENINGS
from pipeline.service.policy_rules import RULES

PAGE = Path(__file__).parent / "reference" / "policies.md"

HEAD = """\
# Policies

<!-- Made by `make settings-doc` from pipeline/service/policy_rules.py; do not edit. -->

[Set the policy of a collection](../how-to/policies.md) says how to write one. This page says what it decides.

## Why a search is refused

Pictor looks at the rules from the top. The first one that holds refuses the search. Its code is in the answer
(`reason`) and in the record (`decision.reason_code`). If none holds, the search is allowed.

| | Reason | Refused when | What to do |
|---|---|---|---|
"""

AFTER = """
`access_denied` is the reason where the caller's key may not search, or not this collection or bucket. It is
looked at before the policy. A collection without a policy has none of these rules. Its searches are recorded,
too.

## Which change needs a second person

A new version is in force at once, unless it is looser than the one before in one of these fields. Then it
waits until an approver who is another person has agreed. The first policy of a collection is in force at
once. The first one with `faces` is an exception. It waits, too, if it is looser than the defaults for
faces ({defaults}).

| Field | Looser when |
|---|---|
"""

LOOSER = {
    "purposes": "a purpose is added, or the text of a code is another one",
    "keys": "a key is added",
    "roles": "a role is added",
    "case_required": "it was required and is not any more",
    "case_patterns": "a pattern is added to others, or the last one is taken away",
    "min_score": "the floor is lower, or there is none any more",
    "min_similarity": "the floor is lower, or there is none any more",
    "max_k": "it is higher, or there is none any more",
    "authorisation": "it is further to the end of the list `ex_ante`, `48h`, `none`",
    "retention_days": "records go earlier, or go at all where they stayed",
    "verifications": "fewer persons look at a match",
    "faces": "it was one of faces and is not any more",
}


def make_page() -> str:
    rules = "".join(
        f"| {number} | `{rule.reason}` | {rule.when} | {rule.remedy} |\n"
        for number, rule in enumerate(RULES, 1)
    )
    fields = "".join(f"| `{name}` | {LOOSER[name]} |\n" for name in LOOSENINGS)
    defaults = ", ".join(f"`{name}` {value:g}" for name, value in FACE_DEFAULTS.items())
    return HEAD + rules + AFTER.format(defaults=defaults) + fields


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
