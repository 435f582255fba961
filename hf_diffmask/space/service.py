"""What the page and its endpoints do, without the page: limits, and one thread that runs the models."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from ..data.encoding import encode
from ..data.windows import windows
from ..display.page import to_html
from ..errors import DiffMaskError, reason
from ..evaluation.comparison import attribute, measured, rankable
from ..evaluation.faithfulness import PRESETS
from ..methods.registry import Explainers
from ..pipeline.what_if import what_if
from .batching import Batcher
from .settings import Settings
from .shelf import Held, Shelf

# What is compared, with the name that is shown.
COMPARED = {"diffmask": "DiffMask", "loo": "leave-one-out", "ig": "Integrated Gradients, 32 steps"}
# Passes of the base model over one input, forward and backward; of leave-one-out one a token.
PASSES = {"diffmask": 1, "ig": 64}
PROTOCOL = PRESETS["hf_diffmask"]._replace(replacement="attention")  # which every base model has
SUFFIXES = (".csv", ".jsonl", ".parquet")

# On ZeroGPU, what runs the model has to be marked; elsewhere the package is not there, or its mark does nothing.
if importlib.util.find_spec("spaces"):
    import spaces

    on_gpu = spaces.GPU
else:

    def on_gpu(function: Any) -> Any:
        """Runs it here."""
        return function


class Service:
    """
    Explains, masks and compares for many visitors at once.

    Explainers hook into their base model, so that two threads must not run one: all of it happens in one thread, and
    requests that queue up for it are run as one batch.

    Args:
        settings ([`Settings`]): What is served, and the limits.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.shelf = Shelf(settings)
        self.batcher = Batcher(_run, settings.batch_size)
        first = self.shelf.get("").explain.model.task.card_inputs(pairs=False)[0]
        self.explain(*([first] if isinstance(first, str) else first.values()))  # warm

    def explain(
        self,
        text: str,
        pair: str = "",
        explainer: str = "",
        margin: float | None = None,
        state: str | int | None = None,
        on_violation: str = "keep",
    ) -> dict[str, Any]:
        """
        Explains a prediction.

        Args:
            text (`str`): The text, or the question.
            pair (`str`, *optional*): Second text of a pair, or the context of the question.
            explainer (`str`, *optional*): See [`Shelf.get`].
            margin (`float`, *optional*): What the explanation may cost; by default the explainer's.
            state (`str` or `int`, *optional*): The state whose mask is handed out; by default the last.
            on_violation (`str`, *optional*): See [`DiffMaskAttributionPipeline`].

        Returns:
            `dict`: The pipeline's result.

        Raises:
            DiffMaskError: If a limit is passed, or the pipeline refuses.
        """
        item, held = self._input(text, pair), self.shelf.get(explainer)
        options = {"margin": margin, "state": state, "on_violation": on_violation}
        key = ("explain", held, tuple(sorted((name, v) for name, v in options.items() if v is not None)))
        return self.batcher(key, item, self.settings.seconds)

    def what_if(self, text: str, kept: list[int], pair: str = "", explainer: str = "") -> dict[str, Any]:
        """
        Predicts from the tokens that somebody chose.

        Args:
            text (`str`): The text, or the question.
            kept (`list[int]`): Numbers of the tokens that stay.
            pair (`str`, *optional*): Second text of a pair, or the context of the question.
            explainer (`str`, *optional*): See [`Shelf.get`].

        Returns:
            `dict`: See [`~hf_diffmask.pipeline.what_if.what_if`].

        Raises:
            DiffMaskError: If a limit is passed, or there is no such token.
        """
        item = self._input(text, pair)
        if not isinstance(kept, list) or not all(type(number) is int for number in kept):
            raise DiffMaskError("`kept` must be a list of the numbers of tokens.")
        return self.batcher(("what_if", self.shelf.get(explainer)), (item, kept), self.settings.seconds)

    def compare(self, text: str, pair: str = "", explainer: str = "") -> list[dict[str, Any]]:
        """
        Explains a prediction by DiffMask, leave-one-out and Integrated Gradients.

        Args:
            text (`str`): The text.
            pair (`str`, *optional*): Second text of a pair.
            explainer (`str`, *optional*): See [`Shelf.get`].

        Returns:
            `list[dict]`: Of each method `method`, `tokens` (each with `token` and `score`), `passes` of the base
            model, forward and backward, `seconds`, beside the `bare_seconds` of one forward pass in the same run, and
            of a text that is long enough `comprehensiveness` and `sufficiency`, tokens taken out of the attention.

        Raises:
            DiffMaskError: If a limit is passed, or the explainer is for no classifier.
        """
        item, held = self._input(text, pair), self.shelf.get(explainer)
        if held.plain is None:
            raise DiffMaskError("Methods are compared for classifiers only: choose an explainer of one.")
        return self.batcher(("compare", held), (item, self.settings.tokens), self.settings.seconds)

    def read(self, path: str | Path, column: str = "", pair_column: str = "") -> list[Any]:
        """
        Reads the texts of a file.

        Args:
            path (`str` or `Path`): A csv, jsonl or parquet file.
            column (`str`, *optional*, defaults to `"text"`): The column of the texts.
            pair_column (`str`, *optional*): That of second texts.

        Returns:
            `list`: Inputs of the pipeline.

        Raises:
            DiffMaskError: If it cannot be read, is too large, or lacks the column.
        """
        path, most = Path(path), self.settings.rows
        if path.suffix.lower() not in SUFFIXES:
            raise DiffMaskError(f"A file must be one of {', '.join(SUFFIXES)}, but this is {path.name[-40:]!r}.")
        if path.stat().st_size > self.settings.upload_megabytes * 1e6:
            raise DiffMaskError(f"The file is larger than the limit of {self.settings.upload_megabytes:g} MB.")
        columns = [column.strip() or "text", *([pair_column.strip()] if pair_column.strip() else [])]
        try:
            table = _table(path, columns, most)
        except (ValueError, OSError, pyarrow.ArrowException) as error:
            raise DiffMaskError(f"The file cannot be read ({reason(error)[:200]}).") from None
        if missing := [name for name in columns if name not in table]:
            raise DiffMaskError(f"The file has no column {missing[0]!r}; it has {', '.join(map(str, table))[:300]}.")
        if len(table) > most:
            raise DiffMaskError(f"The file has more rows than the limit of {most}: upload a part of it.")
        if table.empty:
            raise DiffMaskError("The file has no rows.")
        found = []
        for number, row in enumerate(table[columns].itertuples(index=False, name=None), start=1):
            texts = [value if isinstance(value, str) else "" for value in row]
            try:
                found.append(self._input(texts[0], texts[1] if len(texts) > 1 else ""))
            except DiffMaskError as error:
                raise DiffMaskError(f"Row {number}: {error}") from None
        return found

    def batch(self, inputs: list[Any], explainer: str = "") -> Iterator[dict[str, Any]]:
        """
        Explains many inputs; between two parts of them, others are served.

        Args:
            inputs (`list`): See [`Service.read`].
            explainer (`str`, *optional*): See [`Shelf.get`].

        Yields:
            `dict`: Results of the pipeline, in the order of the inputs.

        Raises:
            DiffMaskError: If the explainer is not served.
        """
        held = self.shelf.get(explainer)
        for start in range(0, len(inputs), self.settings.batch_size):
            part = inputs[start : start + self.settings.batch_size]
            yield from self.batcher(("part", held), part, self.settings.seconds)

    def _input(self, text: str, pair: str) -> dict[str, str]:
        if not isinstance(text, str) or not isinstance(pair, str):
            raise DiffMaskError("A text must be a string.")
        if not text.strip():
            raise DiffMaskError("There is no text: give one with at least one visible character.")
        if len(text) + len(pair) > self.settings.characters:
            raise DiffMaskError(
                f"The text has {len(text) + len(pair):,} characters, and the limit is {self.settings.characters:,}."
            )
        return {"text": text, **({"text_pair": pair} if pair.strip() else {})}


def write_results(results: list[dict[str, Any]], inputs: list[dict[str, str]], folder: Path) -> list[Path]:
    """
    Writes attributions as parquet, JSON lines and a page.

    Args:
        results (`list[dict]`): Results of the pipeline.
        inputs (`list[dict]`): What they are of.
        folder (`Path`): Where to.

    Returns:
        `list[Path]`: `attributions.parquet`, one row an input, its tokens in a list; `attributions.jsonl`, the
        results as they are; `attributions.html`, to look at.
    """
    files = [folder / f"attributions.{kind}" for kind in ("parquet", "jsonl", "html")]
    rows = [
        {**one, **{name: value for name, value in result.items() if name != "states"}}
        for one, result in zip(inputs, results, strict=True)
    ]
    pd.DataFrame(rows).to_parquet(files[0], index=False)
    files[1].write_text("".join(json.dumps(result) + "\n" for result in results), encoding="utf-8")
    files[2].write_text(to_html(results), encoding="utf-8")
    return files


def _table(path: Path, columns: list[str], most: int) -> pd.DataFrame:
    """One row more than may be, so that it shows."""
    if path.suffix.lower() == ".csv":
        return pd.read_csv(path, nrows=most + 1, dtype=str, keep_default_na=False)
    if path.suffix.lower() == ".jsonl":
        return pd.read_json(path, lines=True, nrows=most + 1, dtype=False, convert_dates=False)
    file = pyarrow.parquet.ParquetFile(path)
    if file.metadata.num_rows > most:
        raise ValueError(f"it has {file.metadata.num_rows:,} rows, and the limit is {most}")
    names = file.schema_arrow.names
    # No more than is needed is read; without it the names alone say what is missing.
    return file.read(columns).to_pandas() if set(columns) <= set(names) else pd.DataFrame(columns=names)


@on_gpu
def _run(key: tuple[Any, ...], items: list[Any]) -> list[Any]:
    """Runs requests of one kind for one explainer."""
    what, held = key[:2]
    if what == "explain":
        return _explained(held, items, **dict(key[2]))
    if what == "part":
        return [_explained(held, part) for part in items]
    if what == "what_if":
        return [what_if(held.explain, text, kept) for text, kept in items]
    return [_compared(held, text, most) for text, most in items]


def _explained(held: Held, inputs: list[dict[str, str]], **options: Any) -> list[dict[str, Any]]:
    """As one batch, where the tokenizer can pad one."""
    return held.explain(
        inputs, batch_size=1 if held.explain.tokenizer.pad_token_id is None else len(inputs), **options
    )


def _compared(held: Held, text: dict[str, str], most: int) -> list[dict[str, Any]]:
    explain = held.explain
    given = (text["text"], text["text_pair"]) if "text_pair" in text else text["text"]
    encoded = encode(explain.tokenizer, given)
    most = min(most, explain.length)
    if len(encoded.tokens) > most:
        raise DiffMaskError(f"The text has {len(encoded.tokens)} tokens, and methods are compared on up to {most}.")
    (window,) = windows(encoded, explain.length)
    assert held.plain is not None
    explainers = Explainers(explain.model, held.plain, None, 0)
    found = []
    for method, name in COMPARED.items():
        of_method = attribute(explainers, explain.tokenizer, [window.features], method)
        figures: dict[str, float] = {}
        if PROTOCOL.takes_away(encoded.segments.count(0) + encoded.segments.count(1)):
            scores, _ = rankable([window.features], of_method.scores, PROTOCOL)
            values = measured(explainers, explain.tokenizer, [window.features], scores, PROTOCOL)
            figures = {figure: float(values[figure][0]) for figure in ("comprehensiveness", "sufficiency")}
        found.append(
            {
                "method": name,
                "tokens": [
                    {"token": token, "score": score, "special": segment is None}
                    for token, score, segment in zip(
                        encoded.tokens, of_method.scores[0], encoded.segments, strict=True
                    )
                ],
                "seconds": of_method.seconds,
                "bare_seconds": of_method.seconds / of_method.forwards,
                "passes": sum(not special for special in window.features["special_tokens_mask"])
                if method == "loo"
                else PASSES[method],
                **figures,
            }
        )
    return found
