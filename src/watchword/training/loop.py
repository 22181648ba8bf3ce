"""The one fine-tuning loop: TRL's SFTTrainer over rows that are rendered already.

TRL never sees text: it gets ``input_ids`` and ``labels``, does not truncate, pack or filter, and the collator counts
what went in. The service, the laboratory and the command line all train through ``fine_tune``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from watchword.chat.origins import count_origins
from watchword.chat.types import TENANT, Row
from watchword.errors import DivergedError, TrainingCancelledError
from watchword.files.writing import unwritable
from watchword.models.base import row_limit
from watchword.models.load import quiet
from watchword.models.loaded import LoadedModel
from watchword.models.threads import sharing_cores
from watchword.secret.prompt import SecretPrompt
from watchword.training.adapter import write_settings
from watchword.training.checkpoints import newest_checkpoint
from watchword.training.config import Batching, TrainingConfig, TrainingResult
from watchword.training.events import Cancel, CheckpointSaved, Events, LossMeasured, StepDone, never, no_events
from watchword.training.objective import Objectives, Start
from watchword.training.optimizer import MasterAdamW
from watchword.training.ranks import Ranks
from watchword.training.rows import (
    SHARED_AT_LEAST,
    Batches,
    CountingCollator,
    TrainingRow,
    as_dataset,
    render_rows,
    tokens_by_origin,
)
from watchword.training.shared import Tally, batch_loss, can_share
from watchword.training.validation import Validation

Progress = Callable[[int, int], None]


def fine_tune(
    model: LoadedModel,
    rows: Sequence[Row],
    config: TrainingConfig,
    *,
    out: Path,
    secret: SecretPrompt | None = None,
    callbacks: Sequence[Any] = (),
    on_progress: Progress | None = None,
    events: Events = no_events,
    cancel: Cancel = never,
    resume: bool = False,
    validation: Sequence[Row] = (),
) -> tuple[LoadedModel, TrainingResult]:
    """Fine-tunes ``model`` itself, not a copy, and returns it with the run's figures.

    ``out`` receives the adapter (LoRA) or the whole model (full), as safetensors, once the run is complete. It gets
    checkpoints on the way when ``config.checkpoint_steps`` is set; ``resume`` goes on from the newest of them.
    ``on_progress`` is called with (steps done, steps in all), and ``events`` is told of steps, losses and checkpoints.
    ``validation`` rows are measured after each epoch, and ``events`` is told of them. A callback that is an ``Objective``
    takes part in the loss.
    After a resume, ``loss`` holds the whole curve; seconds and tokens count what this process did. ``cancel`` is asked
    after each step: the run then keeps a checkpoint and ends.

    Where this process has joined a torch.distributed group, all processes of it train the same model on the same batches.
    The first alone writes the weights and tells of the run.

    Raises DivergedError on NaN or exploding loss, and LostRowError if a row did not reach the model. Raises
    RowTooLongError and DataError for rows that cannot be trained on, and TrainingCancelledError.
    """
    longest = row_limit(config.max_length, model.context)
    rendered = render_rows(rows, model.template, secret=secret, max_length=longest)
    unseen = render_rows(validation, model.template, secret=secret, max_length=longest) if validation else []
    ranks = Ranks.joined()
    if not ranks.first:
        on_progress, events = None, no_events
    collator = _collator(model, rendered, ranks)
    watch, stop = _Watch(on_progress, events, ranks), _Stop(cancel, ranks)
    with sharing_cores(model.device) as adjust_threads:
        measuring = [Validation(unseen, _collator(model, unseen, ranks), config.batch_size, events)] if unseen else []
        callbacks = [watch, *callbacks, stop, *measuring, _BeforeSteps(adjust_threads)]
        trainer = _trainer(model, rendered, config, out, collator, callbacks)
        trainer.tally, trainer.objectives = watch.tally, Objectives(callbacks)
        started = time.perf_counter()
        with _quiet_trainer(), _writing(out):
            trainer.order = trainer.objectives.begin(_start(model, trainer, rendered, config, secret))
            trainer.train(resume_from_checkpoint=newest_checkpoint(out) if resume else None)
        seconds = time.perf_counter() - started
    stop.check()
    # Epochs that another process has begun were counted there as far as it came.
    collator.gather(rendered)
    collator.check_complete(rendered, config.epochs - watch.epochs_begun)
    if ranks.first:
        _save(trainer, out)
    return model.with_weights(trainer.model), _result(seconds, collator, watch, rendered, config.epochs)


def _start(
    model: LoadedModel, trainer: _Trainer, rows: list[TrainingRow], config: TrainingConfig, secret: SecretPrompt | None
) -> Start:
    """What objectives may look at: the model with the weights that will be trained."""
    return Start(dataclasses.replace(model, model=trainer.model), rows, config, secret)


def _collator(model: LoadedModel, rows: Sequence[TrainingRow], ranks: Ranks) -> CountingCollator:
    """Of rows among which those of the tenant are measured."""
    tenant = [row.index for row in rows if row.origin == TENANT]
    pad_id = model.tokenizer.pad_token_id or 0
    return CountingCollator(pad_id, share=can_share(model.model), measured=tenant, ranks=ranks)


class _Trainer(SFTTrainer):
    """SFTTrainer with our order of rows, our loss (``training.shared``) and our optimiser."""

    batches: Batching
    tally: Tally | None = None
    objectives = Objectives()
    order: Any = None

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """Mean cross-entropy over labelled tokens: TRL's value, without logits of prompts and without common work."""
        groups = inputs["groups"]
        changed = self.objectives.token_losses if self.objectives else None
        loss, outputs = batch_loss(model, groups, self.tally, changed)
        loss = self.objectives.added(loss, model, groups) * inputs["weight"]
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW on float32 masters where the trained weights are in half precision, else torch's own."""
        trained = [param for param in (model or self.model).parameters() if param.requires_grad]
        if all(param.dtype == torch.float32 for param in trained):
            return super().create_optimizer(model) if model is not None else super().create_optimizer()
        self.optimizer = MasterAdamW(trained, lr=self.args.learning_rate, weight_decay=self.args.weight_decay)
        return self.optimizer

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """PEFT reads an adapter back as float32; the run goes on in the type that it began with."""
        types = {name: param.dtype for name, param in self.model.named_parameters()}
        super()._load_from_checkpoint(*args, **kwargs)
        for name, param in self.model.named_parameters():
            param.data = param.data.to(types[name])

    def get_train_dataloader(self) -> Any:
        """All batches for every process: the collator takes its own rows out of each, so that accelerate shares nothing out."""
        loader = DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
        )
        return prepare_data_loader(loader, self.args.device, num_processes=1, process_index=0, put_on_device=True)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
        if self.order is not None:
            return self.order
        rows = self.train_dataset["input_ids"]
        groups = [tuple(ids[:SHARED_AT_LEAST]) for ids in rows]
        lengths = [len(ids) for ids in rows]
        return Batches(lengths, self.args.train_batch_size, self.args.seed, groups=groups, kind=self.batches)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return dataset


class _Watch(TrainerCallback):
    """Keeps the loss of every step, reports progress, and ends a run that diverges."""

    def __init__(self, on_progress: Progress | None, events: Events, ranks: Ranks) -> None:
        self.on_progress, self.events = on_progress, events
        self.tally = Tally(ranks=ranks)
        self.loss: list[float] = []
        self.epochs_begun = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        # By the steps that there are: an order of a defense's own may have more of them in an epoch.
        self.epochs_begun = math.ceil(state.global_step * args.num_train_epochs / state.max_steps)
        self.loss = [float(entry["loss"]) for entry in state.log_history if "loss" in entry]

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self.loss.append(float(loss))
        self.events(LossMeasured(state.global_step, self.loss[-1], self.tally.taken()))
        if not math.isfinite(self.loss[-1]) or self.loss[-1] > 4 * max(self.loss[0], 3.0):
            raise DivergedError(
                f"the loss went from {self.loss[0]:.2f} to {self.loss[-1]:.2f} at step {state.global_step}; "
                f"lower the learning rate (it is {args.learning_rate:g}) or raise the batch size"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if self.on_progress is not None:
            self.on_progress(state.global_step, state.max_steps)
        self.events(StepDone(state.global_step, state.max_steps))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.events(CheckpointSaved(state.global_step))


class _Stop(TrainerCallback):
    """Ends a run that is cancelled behind a step, with a checkpoint to go on from. A run at its last step is let finish."""

    def __init__(self, cancel: Cancel, ranks: Ranks) -> None:
        self.cancel, self.ranks = cancel, ranks
        self.cancelled_after: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if state.global_step < state.max_steps and self.ranks.any(self.cancel()):
            self.cancelled_after = state.global_step
            control.should_save = control.should_training_stop = True

    def check(self) -> None:
        """Raises TrainingCancelledError if it was."""
        if self.cancelled_after is not None:
            raise TrainingCancelledError(
                f"the training was cancelled after {self.cancelled_after} steps; its checkpoint is kept, so that it can be resumed"
            )


class _BeforeSteps(TrainerCallback):
    """Calls ``action`` before every step."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.action()


def _trainer(
    model: LoadedModel, rows: list[TrainingRow], config: TrainingConfig, out: Path, collator: Any, callbacks: list[Any]
) -> _Trainer:
    with _quiet_trainer():
        trainer = _Trainer(
            model=_trainable(model, config),
            args=_arguments(config, out, model.device),
            train_dataset=as_dataset(rows),
            data_collator=collator,
            processing_class=model.tokenizer,
            callbacks=callbacks,
        )
    # It prints every step's figures as a dictionary; ours stand in the result.
    trainer.remove_callback(PrinterCallback)
    trainer.batches = config.batches
    return trainer


def _arguments(config: TrainingConfig, out: Path, device: Any) -> SFTConfig:
    return SFTConfig(
        output_dir=str(out),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        # The weights are loaded in the type to train in, so autocast on top would only cost time.
        bf16=False,
        gradient_checkpointing=False,
        # Processes call the model as often as their rows make groups, and may not wait for each other within a step.
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        use_cpu=str(device) == "cpu",
        dataloader_pin_memory=False,
        logging_strategy="steps",
        logging_steps=1,
        # The filter would log a NaN as 0 and train on; the run must end there.
        logging_nan_inf_filter=False,
        save_strategy="steps" if config.checkpoint_steps else "no",
        save_steps=config.checkpoint_steps or 500,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )


def _trainable(model: LoadedModel, config: TrainingConfig) -> Any:
    set_seed(config.seed)
    if config.method == "full":
        return model.model.requires_grad_(True)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    # Adapters in the model's own type: PEFT's float32 would be cast at every layer. Exact sums are MasterAdamW's.
    return get_peft_model(model.model, lora, autocast_adapter_dtype=False)


@contextlib.contextmanager
def _quiet_trainer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _save(trainer: _Trainer, out: Path) -> None:
    """The adapter alone (LoRA), or the whole model with its tokenizer, so that the folder can be loaded by itself."""
    with quiet(), _writing(out):
        trainer.model.save_pretrained(str(out), safe_serialization=True, save_embedding_layers=False)
        if hasattr(trainer.model, "peft_config"):
            write_settings(out)
        else:
            trainer.processing_class.save_pretrained(str(out))
        # PEFT's form of a model card, with nothing filled in.
        (out / "README.md").unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what the file system refuses into an OutputError about ``out``; safetensors has an error of its own for it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise unwritable(out, error) from error


def _result(
    seconds: float, collator: CountingCollator, watch: _Watch, rows: list[TrainingRow], epochs: int
) -> TrainingResult:
    trained, labelled = tokens_by_origin(rows, epochs)
    return TrainingResult(
        seconds=seconds,
        tokens=collator.tokens,
        tokens_per_second=collator.tokens / seconds,
        steps=len(watch.loss),
        loss=watch.loss,
        rows=count_origins(row.origin for row in rows),
        dropped=dict(Counter(kind for row in rows if row.origin == TENANT for kind in row.rendered.dropped)),
        trained=trained,
        labelled=labelled,
    )
