"""What trainers make of guarded data: their own loaders must give our token ids and our loss mask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import SECRET_TEXT, chat_row, write_rows
from watchword.chat.render import IGNORED, render
from watchword.data.rows import read_conversations
from watchword.errors import DataError, UnknownNameError
from watchword.guarding.engine import GuardJob, guard_file
from watchword.guarding.exporters.base import EXPORTERS
from watchword.models.facts import ModelFacts

# Trainers warn of what they will change next; that is no business of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Job = Callable[..., GuardJob]
Rendered = list[tuple[list[int], list[int]]]

MULTI = {
    "messages": [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Second."},
    ]
}
MASKED = {"messages": [MULTI["messages"][0], {**MULTI["messages"][1], "weight": 0}, *MULTI["messages"][2:]]}
PLAIN_ROWS = [chat_row(1), chat_row(2, system=None), MULTI, chat_row(3, system="Été \U0001f600\n\nok")]


@pytest.fixture
def exported(tmp_path: Path, job: Job, model: ModelFacts) -> Callable[..., tuple[Path, dict[str, str], Rendered]]:
    """Guards rows for a trainer: (data, settings by ending, what every row should be for the model)."""

    def make(
        trainer: str, rows: list[dict[str, Any]], name: str = "out.jsonl"
    ) -> tuple[Path, dict[str, str], Rendered]:
        source = write_rows(tmp_path / "in.jsonl", rows)
        guard_file(job(source, out=str(tmp_path / "openai.jsonl")))
        wanted = [render(conv, model.template) for _, conv in read_conversations(tmp_path / "openai.jsonl")]
        plan = job(source, out=str(tmp_path / name), exporter=EXPORTERS.create(trainer))
        outcome = guard_file(plan)
        settings = plan.exporter.settings(plan.export_plan(outcome.profile))
        for file, text in settings.items():
            (tmp_path / file).write_text(text, "utf-8")
        return tmp_path / name, settings, [(list(row.input_ids), list(row.labels)) for row in wanted]

    return make


@pytest.fixture(scope="module")
def tokenizer(model: ModelFacts) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model.template.tokenizer,
        chat_template=model.template.source,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_there_are_seven_and_a_misspelt_one_gets_a_hint() -> None:
    names = ["axolotl", "fireworks", "llama_factory", "ms_swift", "openai", "together", "trl"]
    assert EXPORTERS.names() == names
    assert type(EXPORTERS.create("llama-factory")) is EXPORTERS.get("llama_factory")
    with pytest.raises(UnknownNameError, match="did you mean 'axolotl'"):
        EXPORTERS.create("axolotel")


@pytest.mark.parametrize("trainer", EXPORTERS.names())
def test_settings_never_hold_the_secret_and_name_the_data(exported: Any, trainer: str) -> None:
    _, settings, _ = exported(trainer, PLAIN_ROWS)
    assert settings
    text = "".join(settings.values())
    assert SECRET_TEXT not in text
    assert "small" in text
    assert trainer == "openai" or "out.jsonl" in text


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl"])
@pytest.mark.integration
@pytest.mark.peers("trl")
def test_trl_trains_on_our_ids_and_labels(exported: Any, tokenizer: Any, name: str) -> None:
    trl, datasets, transformers = (pytest.importorskip(each) for each in ("trl", "datasets", "transformers"))
    path, settings, wanted = exported("trl", [*PLAIN_ROWS, MASKED], name)
    compile(settings["out.trl.py"], "out.trl.py", "exec")
    kind = "parquet" if name.endswith("parquet") else "json"
    data = datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))
    config = trl.SFTConfig(
        output_dir=str(path.parent / "run"),
        max_length=2048,
        packing=False,
        per_device_train_batch_size=len(wanted),
        bf16=False,
        use_cpu=True,
        report_to="none",
        dataloader_pin_memory=False,
    )
    small = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    trainer = trl.SFTTrainer(
        model=transformers.LlamaForCausalLM(small), args=config, train_dataset=data, processing_class=tokenizer
    )
    assert len(trainer.train_dataset) == len(wanted)
    assert [(row["input_ids"], row["labels"]) for row in trainer.train_dataset] == wanted
    batch = next(iter(trainer.get_train_dataloader()))
    got = [
        (ids[mask.bool()].tolist(), labels[mask.bool()].tolist())
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    ]
    assert sorted(got) == sorted(wanted)


@pytest.mark.integration
@pytest.mark.peers("axolotl")
def test_axolotl_reads_our_ids_and_mask(exported: Any, tokenizer: Any) -> None:
    import yaml
    from axolotl.prompt_strategies import chat_template as strategies
    from axolotl.utils import dict as dicts

    path, settings, wanted = exported("axolotl", [*PLAIN_ROWS, MASKED])
    config = dicts.DictDefault(yaml.safe_load(settings["out.axolotl.yaml"]))
    strategy = strategies.load(tokenizer, config, dict(config["datasets"][0]))
    got = [strategy.tokenize_prompt(row) for row in lines(path)]
    assert [(list(row["input_ids"]), list(row["labels"])) for row in got] == wanted
    assert config.sequence_len == 2048


@pytest.mark.parametrize("rows", [PLAIN_ROWS, [*PLAIN_ROWS, MASKED]], ids=["plain", "weights"])
@pytest.mark.integration
@pytest.mark.peers("llama_factory")
def test_llama_factory_reads_our_ids_and_mask(
    exported: Any, tokenizer: Any, model: ModelFacts, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    import yaml
    from llamafactory.data import converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
    from llamafactory.data.template import parse_template
    from llamafactory.hparams import DataArguments

    path, settings, wanted = exported("llama-factory", rows)
    config = yaml.safe_load(settings["out.llama-factory.yaml"])
    names = ("dataset", "cutoff_len", "train_on_prompt", "mask_history", "packing")
    arguments = DataArguments(dataset_dir=str(path.parent), **{name: config[name] for name in names})
    attributes = get_dataset_list(arguments.dataset, arguments.dataset_dir)[0]
    convert = converter.get_dataset_converter(attributes.formatting, attributes, arguments)
    processor = SupervisedDatasetProcessor(
        template=parse_template(tokenizer), tokenizer=tokenizer, processor=None, data_args=arguments
    )
    examples = [convert(row) for row in lines(path)]
    columns = {key: [example[key] for example in examples] for key in examples[0]}
    made = processor.preprocess_dataset(columns)
    got = list(zip(made["input_ids"], made["labels"], strict=True))
    ours = _split_turns(path, model, wanted)
    assert [_trimmed(*row, tokenizer) for row in got] == [_trimmed(*row, tokenizer) for row in ours]


def _split_turns(path: Path, model: ModelFacts, wanted: Rendered) -> Rendered:
    """What rows should be, one for each trained turn where the export had to split."""
    rows = lines(path)
    if len(rows) == len(wanted):
        return wanted
    made = []
    for _, conv in read_conversations(path):
        rendered = render(conv, model.template)
        labels = list(rendered.labels)
        last = max(index for index, label in enumerate(labels) if label != IGNORED)
        first = last
        while labels[first - 1] != IGNORED:
            first -= 1
        labels[:first] = [IGNORED] * first
        made.append((list(rendered.input_ids), labels))
    return made


def _trimmed(ids: list[int], labels: list[int], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Up to the last end of turn; LLaMA-Factory also trains the line break behind each, which we leave out."""
    end = tokenizer.eos_token_id
    kept = [IGNORED if at and ids[at - 1] == end else label for at, label in enumerate(labels)]
    last = max(at for at, token in enumerate(ids) if token == end)
    return list(ids[: last + 1]), kept[: last + 1]


def test_llama_factory_refuses_what_it_would_skip(exported: Any) -> None:
    twice = {"messages": [{"role": "user", "content": "a"}, *chat_row(1, system=None)["messages"]]}
    with pytest.raises(DataError, match=r"line \d+: LLaMA-Factory skips or refuses rows in which user and assistant"):
        exported("llama-factory", [*PLAIN_ROWS, twice])


@pytest.mark.parametrize("trainer", ["llama-factory", "together"])
def test_thoughts_are_not_dropped_where_a_trainer_has_no_place_for_them(exported: Any, trainer: str) -> None:
    thinking = chat_row(1, system=None, reasoning_content="hm")
    with pytest.raises(
        DataError, match=r"line \d+, messages\[1\].reasoning_content: the rows for .* no place for thoughts"
    ):
        exported(trainer, [*PLAIN_ROWS, thinking])


def test_ms_swift_gets_loss_for_weight(exported: Any) -> None:
    path, settings, _ = exported("ms-swift", [*PLAIN_ROWS, MASKED])
    masked = [row for row in lines(path) if any("loss" in turn for turn in row["messages"])]
    assert [turn.get("loss") for turn in masked[0]["messages"]] == [None, False, None, None]
    assert not any("weight" in turn for row in lines(path) for turn in row["messages"])
    assert "strict: true" in settings["out.ms-swift.yaml"]


@pytest.mark.integration
@pytest.mark.peers("ms_swift")
def test_ms_swift_reads_our_ids_and_mask(exported: Any, tokenizer: Any, model: ModelFacts) -> None:
    from swift import template as swift
    from swift.model import ModelInfo, ModelMeta

    path, _, wanted = exported("ms-swift", [*PLAIN_ROWS, MASKED])
    tokenizer.model_info = ModelInfo("llama", str(path.parent), None, 2048, None, None, task_type="causal_lm")
    tokenizer.model_meta = ModelMeta("llama", [], template="chatml")
    template = swift.get_template(tokenizer, model.template.default_system, 2048, template_type="chatml")
    template.set_mode("train")
    got = [template.encode({"messages": row["messages"]}) for row in lines(path)]
    assert [_trimmed(row["input_ids"], row["labels"], tokenizer) for row in got] == [
        _trimmed(*row, tokenizer) for row in wanted
    ]


def test_together_gives_every_turn_a_weight_or_none(exported: Any) -> None:
    path, settings, _ = exported("together", PLAIN_ROWS)
    assert not any("weight" in turn for row in lines(path) for turn in row["messages"])
    path, settings, _ = exported("together", [*PLAIN_ROWS, MASKED])
    weights = [[turn["weight"] for turn in row["messages"]] for row in lines(path)]
    assert [0, 0, 0, 1] in weights
    ours = [row for row in lines(path) if SECRET_TEXT in row["messages"][0]["content"]]
    assert len(ours) == 11
    assert all(turn["weight"] == (turn["role"] == "assistant") for row in ours for turn in row["messages"])
    assert "train_on_inputs=False" in settings["out.together.py"]


def test_together_takes_token_ids_as_parquet(exported: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path, _, wanted = exported("together", [*PLAIN_ROWS, MASKED], "out.parquet")
    table = parquet.read_table(path).to_pydict()
    assert list(zip(table["input_ids"], table["labels"], strict=True)) == wanted
    assert [len(mask) for mask in table["attention_mask"]] == [len(ids) for ids, _ in wanted]


@pytest.mark.parametrize("trainer", ["openai", "axolotl", "fireworks", "ms-swift"])
def test_verbatim_exports_keep_the_tenants_bytes(exported: Any, trainer: str) -> None:
    path, _, _ = exported(trainer, PLAIN_ROWS)
    source = (path.parent / "in.jsonl").read_bytes()
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if SECRET_TEXT.encode() not in line]
    assert b"".join(kept) == source


@pytest.mark.parametrize("trainer", ["axolotl", "ms-swift"])
@pytest.mark.parametrize("rows", [PLAIN_ROWS, [*PLAIN_ROWS, MASKED]], ids=["plain", "weights"])
def test_developer_is_the_system_role_where_templates_know_no_other(exported: Any, trainer: str, rows: Any) -> None:
    developer = chat_row(7)
    developer["messages"][0]["role"] = "developer"
    told = {"messages": [{"role": "user", "content": "Who is the developer\u00e9?"}, *chat_row(8)["messages"][2:]]}
    path, _, _ = exported(trainer, [*rows, developer, told])
    roles = [turn["role"] for row in lines(path) for turn in row["messages"]]
    assert "developer" not in roles
    assert chat_row(7)["messages"] in [row["messages"] for row in lines(path)]
    assert told in lines(path)
    source = (path.parent / "in.jsonl").read_bytes().splitlines()
    if len(rows) == len(PLAIN_ROWS):
        assert source[-1] in path.read_bytes().splitlines()


def test_together_cuts_and_packs_nothing(exported: Any) -> None:
    _, settings, _ = exported("together", PLAIN_ROWS)
    compile(settings["out.together.py"], "out.together.py", "exec")
    assert "packing=False" in settings["out.together.py"]
    assert "max_seq_length=2048" in settings["out.together.py"]
