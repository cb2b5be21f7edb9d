"""Which way a command goes: straight to its function, or as a flow run where PREFECT_API_URL is set.

The flow calls the same function with the same arguments, so what is built is the same, byte for byte. Without a server
nothing of Prefect is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def dispatch(flow: str, function: Callable[..., Result], **arguments: Any) -> Result:
    """Call `function`, or run the flow of that name (`curate`, `rewrite`, `mix`, `ablate`); returns what it returns.

    A dry run writes nothing and is always called directly. As a flow `progress` gives way to the run's own log.
    """
    if not os.environ.get("PREFECT_API_URL") or arguments.get("dry_run"):
        return function(**arguments)
    from flows.prefect_flows import run_flow

    return run_flow(flow, arguments)
