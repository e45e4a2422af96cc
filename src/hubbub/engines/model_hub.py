"""Models by their Hugging Face name: from the local cache, else from the hub. Never waits for a hub that is not there.

The cache and the download are huggingface_hub's own: files are shared with every other tool, a broken download is
resumed, and ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` work as everywhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import huggingface_hub
from huggingface_hub import constants

from hubbub.core.errors import ConfigError

T = TypeVar("T")

QUANTS = ("Q8_0", "Q4_K_M", "Q6_K", "Q5_K_M", "Q4_0", "Q4_1", "BF16", "F16")
"""What is taken when a repository has several files, best first: Q8_0 is next to lossless and fast on CPUs."""
_NOT_A_MODEL = re.compile(r"mmproj|-\d{5}-of-\d{5}|imatrix", re.IGNORECASE)
IR_FILE = "openvino_model.xml"
IR_FILES = ["*.xml", "*.bin", "*.json", "*.jinja", "*.txt", "*.model"]


class HubUnreachable(Exception):
    """The hub did not answer in time; the message says what happened."""


@dataclass(frozen=True, slots=True)
class HubAccess:
    """None takes the library's own settings. ``answer_s``: how long the hub may take to answer at all."""

    endpoint: str | None = None
    cache_dir: Path | None = None
    answer_s: float = 3.0

    @property
    def cache(self) -> Path:
        return self.cache_dir or Path(constants.HF_HUB_CACHE)

    @property
    def address(self) -> str:
        return self.endpoint or constants.ENDPOINT


def snapshots(repo: str, access: HubAccess) -> list[Path]:
    """The folders of ``repo`` in the local cache, the newest first."""
    folders = (access.cache / ("models--" + repo.replace("/", "--")) / "snapshots").glob("*/")
    return sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)


def cached_file(repo: str, wanted: str, access: HubAccess) -> Path | None:
    """The GGUF file or IR folder of ``repo`` that is in the local cache; None if there is none that fits."""
    for snapshot in snapshots(repo, access):
        # A file that is still being downloaded has no link here.
        names = [str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.exists() and path.is_file()]
        chosen = choose_file(names, wanted)
        if chosen is not None:
            return snapshot / chosen
        if not wanted and IR_FILE in names and IR_FILE.replace(".xml", ".bin") in names:
            return snapshot
    return None


def download(repo: str, wanted: str, access: HubAccess) -> Path:
    """The file or IR folder, downloaded (or resumed) with a progress bar where stderr is a terminal.

    Raises HubUnreachable when the hub does not answer, ConfigError for a name or file that is not there.
    """
    names = _files_of(repo, access)
    chosen = choose_file(names, wanted)
    try:
        if chosen is not None:
            found = huggingface_hub.hf_hub_download(
                repo, chosen, endpoint=access.endpoint, cache_dir=access.cache_dir, etag_timeout=access.answer_s
            )
            return Path(found)
        if not wanted and IR_FILE in names:
            found = huggingface_hub.snapshot_download(
                repo,
                endpoint=access.endpoint,
                cache_dir=access.cache_dir,
                etag_timeout=access.answer_s,
                allow_patterns=IR_FILES,
            )
            return Path(found)
    except (_http_error(), OSError) as fault:
        raise HubUnreachable(f"the download of {repo} from {access.address} broke off ({_words(fault)})") from fault
    raise ConfigError(_nothing_fits(repo, names, wanted), param="model")


def choose_file(names: Sequence[str], wanted: str) -> str | None:
    """The GGUF file that ``wanted`` (a file name, a quantization like Q4_K_M, or nothing) means."""
    files = sorted(name for name in names if name.lower().endswith(".gguf") and not _NOT_A_MODEL.search(name))
    if wanted in files:
        return wanted
    if wanted:
        return next((name for name in files if _is_quant(name, wanted)), None)
    for quant in QUANTS:
        for name in files:
            if _is_quant(name, quant):
                return name
    return files[0] if len(files) == 1 else None


def _is_quant(name: str, quant: str) -> bool:
    return re.search(rf"(^|[-._/]){re.escape(quant)}\.gguf$", name, re.IGNORECASE) is not None


def _http_error() -> type[BaseException]:
    """The base error of the HTTP library underneath, which is another one in each major version. Loaded when the hub is
    asked: a command that needs no model does not wait for it."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__mro__[1]


def _files_of(repo: str, access: HubAccess) -> list[str]:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    api = huggingface_hub.HfApi(endpoint=access.endpoint)

    def ask() -> list[str]:
        return [file.rfilename for file in api.model_info(repo, timeout=access.answer_s).siblings or ()]

    try:
        return _within(access.answer_s, ask)
    except GatedRepoError as fault:
        raise ConfigError(
            f"{repo} asks for consent: accept its terms at {access.address}/{repo} and set HF_TOKEN", param="model"
        ) from fault
    except RepositoryNotFoundError as fault:
        raise ConfigError(
            f"there is no model {repo!r} at {access.address} (or it is private: set HF_TOKEN)", param="model"
        ) from fault
    except HFValidationError as fault:
        raise ConfigError(f"{repo!r} is no Hugging Face name: {fault}", param="model") from fault
    except OfflineModeIsEnabled as fault:
        raise HubUnreachable("HF_HUB_OFFLINE is set") from fault
    except HfHubHTTPError as fault:
        raise HubUnreachable(f"{access.address} refuses ({_words(fault)})") from fault
    except (_http_error(), OSError) as fault:
        raise HubUnreachable(f"{access.address} does not answer ({_words(fault)})") from fault


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer, or what ``ask`` raised. Raises TimeoutError after ``seconds``: looking up a host name, for one, has
    no time-out of its own. The thread is then left to end by itself."""
    answers: list[T] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as fault:  # noqa: BLE001 - raised again in the thread that waits
            faults.append(fault)

    thread = threading.Thread(target=run, name="hub-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]


def _nothing_fits(repo: str, names: Sequence[str], wanted: str) -> str:
    files = sorted(name for name in names if name.lower().endswith(".gguf") and not _NOT_A_MODEL.search(name))
    if wanted:
        return f"{repo} has no file {wanted!r}; it has {', '.join(files) or 'no GGUF file at all'}"
    if files:
        return f"{repo} has several GGUF files; name one as {repo}:FILE, of {', '.join(files)}"
    return f"{repo} has neither a GGUF file nor an OpenVINO model; try its GGUF repository, often named {repo}-GGUF"


def _words(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]
