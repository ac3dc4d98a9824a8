"""docs/simulator.md names everything that may be asked of a simulated datacenter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from django.core.management.base import BaseCommand

from infra.management.commands.simulate import Command
from infra.simulator import faults
from infra.simulator.datacenter import Datacenter

PAGE = Path(__file__).resolve().parents[3] / "docs" / "simulator.md"


@pytest.fixture
def datacenter(tmp_path):
    async def made():
        found = Datacenter(tmp_path)
        await found.start()
        names = (sorted(found.verbs), sorted(found.hand))
        await found.stop()
        return names

    return asyncio.run(made())


def _flags(command):
    return set(command.create_parser("facet-manage", "simulate")._option_string_actions)


def test_every_verb_act_fault_and_flag_is_on_the_page(datacenter):
    verbs, acts = datacenter
    flags = _flags(Command()) - _flags(BaseCommand())
    assert flags
    page = PAGE.read_text()
    for name in (*verbs, *acts, *faults.KINDS, *faults.TASKS, *flags):
        assert f"`{name}" in page, name
