"""The model ``watchword`` for lm-eval. To import this module is to make it known there; it needs the extra ``lm-eval``.

A request with a chat template goes through the defense, as in service: ``AppliedDefense`` puts the secret in front and
cleans answers. Without a chat template lm-eval asks for a text to go on. Only a plain model does that, in lm-eval's own way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Self

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import DEFAULT_MAX_LENGTH, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, simple_parse_args_string
from tqdm import tqdm

from watchword.chat.template import ChatTemplate
from watchword.errors import UsageError
from watchword.lab.lm_eval.arguments import Asked, asked_by
from watchword.lab.lm_eval.requests import RequestText, answer_options, request_text, shared_turns, together
from watchword.models.base import GenerationOptions, Likelihood, TokenModel, template_at_hand
from watchword.progress import Progress

# Of an answer where a task sets no limit, as in lm-eval's own models.
MAX_NEW_TOKENS = 256


@register_model("watchword")
class WatchwordLM(TemplateLM):
    """A release or a plain model, as ``asked_by`` gives it."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked, self._subject = asked, asked.subject

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> Self:
        """From ``release=DIR,…``."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """From the arguments of ``ModelArguments``; ``additional_config`` is what lm-eval adds."""
        return cls(asked_by({**arg_dict, **(additional_config or {})}))

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into its results beside the arguments."""
        return {"watchword": dict(self._asked.facts)}

    @property
    def tokenizer_name(self) -> str:
        """Tells apart the requests that lm-eval keeps for several models."""
        return f"watchword-{self._template.digest}"

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's source. Raises UsageError for another than the model's own."""
        if isinstance(chat_template, str):
            raise UsageError(
                f"there is no choice of chat templates ({chat_template!r}): the model is asked by its own; give no name"
            )
        return self._template.source if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], **_: Any) -> RequestText:
        """The request that these turns are, without the secret. Turns that end in an answer's beginning are refused."""
        return request_text(chat_history, self._template)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each continuation: as the answer to its turns, or behind its text where no chat template is applied."""
        places = together([request.args[0] for request in requests], lambda context: isinstance(context, RequestText))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for group in places:
            own = [requests[place] for place in group]
            for place, likely in zip(group, self._likely(own, disable_tqdm), strict=True):
                found[place] = likely
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, in windows of what the model can look at. Raises UsageError for a release."""
        most = self._tokens.context or DEFAULT_MAX_LENGTH
        windows = [
            [
                make_disjoint_window(pair)
                for pair in get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, most, context_len=1)
            ]
            for (text,) in (request.args for request in requests)
        ]
        found = self._weighed([pair for own in windows for pair in own], disable_tqdm)
        ends = accumulate(map(len, windows), initial=0)
        return [sum(likely.log_probability for likely in found[start:end]) for start, end in pairwise(ends)]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """An answer to each request, cut at the task's stop sequences, with nothing of the secret in it."""
        asked = [(request.args[0], normalize_gen_kwargs(request.args[1], MAX_NEW_TOKENS)) for request in requests]
        found = [""] * len(asked)
        with _Bar("answers", len(asked), disable_tqdm) as bar:
            for group in together(
                asked, lambda one: (isinstance(one[0], RequestText), json.dumps(one[1], sort_keys=True))
            ):
                settings = asked[group[0]][1]
                texts = self._answers([asked[place][0] for place in group], settings, bar.part())
                for place, text in zip(group, texts, strict=True):
                    found[place] = postprocess_generated_text(text, settings["until"], None)
        return found

    # What lm-eval's own TemplateLM needs for texts without a chat template.

    @property
    def eot_token_id(self) -> int:
        return self._tokens.first_token

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        return self._tokens.tokens(string, special=add_special_tokens is not False)

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        return _told(self._weighed([(context, text) for _, context, text in requests], disable_tqdm))

    @property
    def _template(self) -> ChatTemplate:
        template = template_at_hand(self._subject.model)
        if template is None:
            raise UsageError(f"the chat template of {self._subject.model.name} is not at hand; take a model that is")
        return template

    @property
    def _tokens(self) -> TokenModel:
        """The model as one that goes on with a text. Raises UsageError where it is only asked in turns."""
        model = self._subject.model
        if self._asked.released or not isinstance(model, TokenModel):
            raise UsageError(
                f"{model.name} is asked in turns, for nowhere else is a place for a secret: let lm-eval apply the chat template "
                "(apply_chat_template), and choose a task that asks questions (no loglikelihood_rolling, no acc_mutual_info)"
            )
        return model

    def _likely(self, requests: Sequence[Instance], quiet: bool) -> list[tuple[float, bool]]:
        if not isinstance(requests[0].args[0], RequestText):
            behind_texts: list[tuple[float, bool]] = super().loglikelihood(requests, quiet)
            return behind_texts
        found = [Likelihood(0.0, 0)] * len(requests)
        with _Bar("likelihoods", len(requests), quiet) as bar:
            for group in together([request.args[0] for request in requests], shared_turns):
                asked, texts = zip(*(requests[place].args for place in group), strict=True)
                convs = [context.conversation for context in asked]
                own = self._subject.applied.likelihoods(self._subject.model, convs, texts, on_progress=bar.part())
                for place, likely in zip(group, own, strict=True):
                    found[place] = likely
        return _told(found)

    def _weighed(self, pairs: Sequence[tuple[list[int], list[int]]], quiet: bool) -> list[Likelihood]:
        with _Bar("likelihoods", len(pairs), quiet) as bar:
            return self._tokens.token_likelihoods(pairs, on_progress=bar.part())

    def _answers(self, contexts: Sequence[str], settings: Mapping[str, Any], step: Progress) -> list[str]:
        options: GenerationOptions = answer_options(settings, self._subject.options.batch_size)
        convs = [context.conversation for context in contexts if isinstance(context, RequestText)]
        if not convs:
            return self._tokens.token_continuations([self.tok_encode(text) for text in contexts], options=options)
        answers = self._subject.applied.ask(self._subject.model, convs, options=options, on_progress=step)
        return [answer.text for answer in answers]


class _Bar:
    """lm-eval's kind of progress bar over parts, of which each tells how far it is by itself."""

    def __init__(self, what: str, total: int, quiet: bool) -> None:
        self._bar = tqdm(total=total, desc=f"watchword: {what}", disable=quiet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def part(self) -> Progress:
        """A report of progress for the next part."""
        before = self._bar.n

        def step(done: int, _: int) -> None:
            self._bar.n = before + done
            self._bar.refresh()

        return step


def _told(found: Sequence[Likelihood]) -> list[tuple[float, bool]]:
    return [(likely.log_probability, likely.greedy) for likely in found]
