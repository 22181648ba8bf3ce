"""What the columns of an Arrow table must be before Python looks at their values: types that JSON has, and sound offsets."""

from __future__ import annotations

from collections import Counter
from typing import Any

from watchword.data.unsupported import MEDIA
from watchword.errors import DataError


def check_columns(arrow: Any, fields: Any, label: str, prefix: str = "") -> None:
    """Refuses columns that would be read wrongly: two of one name (one would be dropped), and types that JSON lacks."""
    fields = list(fields)
    for name, times in Counter(field.name for field in fields).items():
        if times > 1:
            raise DataError(f"{times} columns have this name; keep one of them", path=label, field=f"{prefix}{name}")
    for field in fields:
        if not prefix and field.name in MEDIA and not arrow.types.is_null(field.type):
            raise DataError(
                "the table has images, video or sound, which are not supported; only chats as text can be trained on",
                path=label,
                field=field.name,
            )
        _check_type(arrow, field.type, label, f"{prefix}{field.name}")


def check_values(arrow: Any, batch: Any) -> None:
    """Raises ArrowException where an offset of the batch points outside of its bytes.

    Arrow's readers trust offsets: Python would read foreign memory, or be ended by the system. Text that is not UTF-8 is
    no danger and passes, for the caller can name its row.
    """
    try:
        batch.validate(full=True)
    except arrow.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        for column in batch.columns:
            column.view(_as_bytes(arrow, column.type)).validate(full=True)


def _as_bytes(arrow: Any, kind: Any) -> Any:
    """The same type with bytes for text: Arrow stops at the first fault, and one of text must not hide one of offsets."""
    types = arrow.types
    texts = {arrow.string(): arrow.binary(), arrow.large_string(): arrow.large_binary()}
    if kind in texts or types.is_string_view(kind):
        return texts.get(kind, arrow.binary_view())
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_as_bytes(arrow, field.type)) for field in kind.fields])
    if types.is_dictionary(kind):
        return arrow.dictionary(kind.index_type, _as_bytes(arrow, kind.value_type), kind.ordered)
    if types.is_fixed_size_list(kind):
        return arrow.list_(_as_bytes(arrow, kind.value_type), kind.list_size)
    lists = {
        types.is_list: arrow.list_,
        types.is_large_list: arrow.large_list,
        types.is_list_view: arrow.list_view,
        types.is_large_list_view: arrow.large_list_view,
    }
    made = next((make for fits, make in lists.items() if fits(kind)), None)
    return kind if made is None else made(_as_bytes(arrow, kind.value_type))


def _check_type(arrow: Any, kind: Any, label: str, place: str) -> None:
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        _check_type(arrow, kind.storage_type, label, place)
    elif types.is_struct(kind):
        check_columns(arrow, kind.fields, label, f"{place}.")
    elif types.is_dictionary(kind) or _is_list(types, kind):
        _check_type(arrow, kind.value_type, label, place)
    elif not any(fits(kind) for fits in _plain_types(types)):
        raise DataError(
            f"the column's type is {kind}, which JSON has no value for; write it as text (string), or leave it out with "
            f"`drop_columns={place.partition('.')[0]}`",
            path=label,
            field=place,
        )


def _is_list(types: Any, kind: Any) -> bool:
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(fits(kind) for fits in lists)


def _plain_types(types: Any) -> tuple[Any, ...]:
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return (types.is_null, types.is_boolean, types.is_integer, types.is_floating, *texts)
