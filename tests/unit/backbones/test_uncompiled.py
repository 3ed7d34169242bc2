"""Libraries are imported without torch's compiler, and it is there for whoever wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = "import sys; print([name for name in ('torch._dynamo', 'torch._dynamo.utils') if name in sys.modules])\n"
LATER = """
picture = torch.arange(16.0).view(1, 1, 4, 4)
print(torchvision.ops.roi_align(picture, torch.tensor([[0.0, 0, 0, 4, 4]]), 1).item())  # which asks what it knows
import torch._dynamo.utils
print(len(torch._dynamo.utils.counters), torch.compiler.disable(len)("ab"))
"""


def printed(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_timm_and_torchvision_come_without_it_and_it_can_be_had_later() -> None:
    script = (
        "import torch; before = torch.compiler.disable\n"
        "import headstart.backbones.loaders.timm_images, torchvision\n"
        "assert torch.compiler.disable is before\n"
    )
    assert printed(script + SHOW + LATER) == ["[]", "9.375", "0 2"]


@pytest.mark.parametrize("statement", ["import torch._dynamo", "from torch._dynamo.utils import counters"])
def test_what_needs_more_than_the_stand_in_gets_the_real_one(statement: str) -> None:
    opened = "from headstart.backbones.loaders._uncompiled import uncompiled\nwith uncompiled():\n"
    script = f"{opened}    {statement}\n" + SHOW + "import torch._dynamo; print(len(torch._dynamo.utils.counters))"
    assert printed(script) == ["['torch._dynamo', 'torch._dynamo.utils']", "0"]


def test_one_that_is_there_already_is_left_alone() -> None:
    opened = "from headstart.backbones.loaders._uncompiled import uncompiled\n"
    script = (
        "import torch, torch._dynamo; before = torch.compiler.disable, torch._dynamo.utils\n"
        f"{opened}with uncompiled():\n"
        "    print((torch.compiler.disable, sys.modules['torch._dynamo.utils']) == before)"
    )
    assert printed("import sys\n" + script) == ["True"]
