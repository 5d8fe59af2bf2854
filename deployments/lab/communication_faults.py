"""Faults of how people are reached, each beside something that they must hear of."""

from dataclasses import replace

from deployments.lab import mailbox
from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.privacy_faults import annotator_exposed
from deployments.lab.table_faults import tampered_records


def chat_down(lab: Parts) -> Damage:
    """Chat answers nobody while records are rewritten."""
    lab.chat.stop()
    done = tampered_records(lab)
    return replace(done, said=f"{done.said}; chat is down")


def dpo_unreachable(lab: Parts) -> Damage:
    """Personal data is exposed, and neither chat nor a letter reaches the DPO."""
    lab.chat.stop()
    mailbox.fill(lab.mailbox, "dpo")
    done = annotator_exposed(lab)
    return replace(done, said=f"{done.said}; chat is down and the DPO's mailbox is full")
