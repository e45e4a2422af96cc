"""How many chats fit, how fast, how long for a gigabyte, at what cost, and how sure.

From Python::

    from hubbub.planner.requests import plan_request
    plan_request({"kind": "chats", "model": "Qwen3-8B", "hardware": "RTX 4090", "quant": "AWQ", "chats": 200})

gives the same JSON-ready dict that ``hubbub plan`` prints and ``/v1/plan`` answers. With objects instead::

    from hubbub.planner.setup import make_setup        # a model on a machine under an engine
    from hubbub.planner.chats import memory_report, chat_report, largest, Targets
    from hubbub.planner.corpus import corpus_report, scenarios, Job
    from hubbub.planner.compare import compare, Ask
    from hubbub.planner.recommend import recommend, Wish
    from hubbub.planner.simulate import Simulation, Chats, Bulk
    from hubbub.planner.validate import predict_rows   # rows as in published.csv -> predictions with bands
    from hubbub.planner.calibration import calibrated    # measured points -> this machine's coefficients
    from hubbub.planner.report import html_report      # dicts -> one page

Every figure in the dicts is ``{"value", "low", "high", "unit", "provenance", "narrower"}``: the band holds 90 % of
measurements like it. Input at fault raises BadRequest, NotFound or ContextTooLong with the option in ``param``. Nothing
here needs a network. ``python -m hubbub.planner.fit`` (extra ``fit``) fits the coefficients again.
"""
