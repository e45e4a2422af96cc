"""The embedded engine: OpenVINO GenAI's continuous-batching pipeline behind OpenAI-compatible HTTP.

Two processes, because ``pipeline.step()`` holds the GIL for the whole step (20 to 400 ms), and a third that tries
schemas, for as long as that takes:

::

    HTTP, WebSocket  <-->  front (http, frames, service: text)  <-->  stepper (the pipeline: token ids only)
                                                            |
                                                            '-->  grammar checker (starts with the first JSON schema)

The front renders, tokenizes, detokenizes, and answers; the stepper adds, cancels, steps, and says in one frame a step
which tokens came. Run it with ``python -m hubbub.engines.openvino_server --model PATH``.
"""
