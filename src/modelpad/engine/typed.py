"""Between a model's fields and its graph's tensors: decodes values, encodes outputs.

The graph's tensors are those of the source model. What a field needs in addition (scaling, layout,
softmax) are the steps of its binding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from modelpad.errors import InvalidInput
from modelpad.fields.field import default_of
from modelpad.fields.image import Image
from modelpad.fields.label import Label
from modelpad.fields.steps import apply_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from modelpad.fields import Binding, Field, Signature
    from modelpad.fields.arrays import Array, Arrays
    from modelpad.fields.tokenizer import Encode, ReadFile

LARGE_ARRAY = 32_768  # elements; converting more to nested lists takes several milliseconds


class TypedInputs:
    """Decodes the values of input fields into the graph's inputs."""

    def __init__(
        self,
        fields: Sequence[Field],
        bindings: Sequence[Binding],
        read: ReadFile | None = None,
    ) -> None:
        """`read` reads the tokenizers' files; each is loaded when it is first used."""
        self._names = [field.name for field in fields]
        defaults = {field.name: default_of(field) for field in fields}
        self._defaults = {name: value for name, value in defaults.items() if value is not None}
        self._groups = group_by_tensor(fields, bindings)
        self.axes = {
            tensor: binding.batch_axis for binding in bindings for tensor in binding.tensors
        }
        self._read = read
        self._encoders: dict[str, Encode] = {}

    def decode(self, values: Mapping[str, object]) -> Arrays:
        """One item's values as the graph's inputs, with a batch axis of 1 where they have one.

        Raises `InvalidInput` if a field is missing, unknown or invalid.
        """
        values = self._defaults | dict(values) if self._defaults else values
        check_fields(values, self._names)
        arrays: Arrays = {}
        for tensor, group in self._groups.items():
            field, binding = group[0]
            if binding.tokenizer is None:
                arrays[tensor] = _decode_tensor(group, values)
            else:
                arrays |= self._tokenize(field, binding, values[field.name])
        return arrays

    def _tokenize(self, field: Field, binding: Binding, value: object) -> Arrays:
        """The tensors for a text, each (1, tokens) with the batch axis in its place."""
        tokenizer, text = binding.tokenizer, field.decode(value)
        assert tokenizer is not None
        assert self._read is not None, "the signature has a tokenizer, but no file can be read"
        encode = self._encoders.get(tokenizer.file)
        if encode is None:
            encode = self._encoders[tokenizer.file] = tokenizer.load(self._read)
        return {
            name: place_batch(apply_steps(binding.steps, array[None]), binding.batch_axis)
            for name, array in encode(str(text.item())).items()
        }

    def find_field(self, tensor: str) -> Field | None:
        """The field that alone fills a tensor, and no other; None if there is none."""
        group = self._groups.get(tensor, [])
        return group[0][0] if len(group) == 1 and not group[0][1].tokenizer else None

    def decode_items(self, tensor: str, values: Sequence[object]) -> Array:
        """The tensor for some values of its only field, one for each item.

        Raises `InvalidInput` if a value is invalid, or if they give different shapes.
        """
        import numpy as np

        field, binding = self._groups[tensor][0]
        items = [field.decode(value) for value in values]
        shapes = {item.shape for item in items}
        if len(shapes) != 1 or (binding.batch_axis is None and len(items) > 1):
            raise InvalidInput(
                f"The values for {tensor!r} do not form one tensor.",
                hint="Send images of one size together; one per request if there is no batch axis.",
                field=tensor,
                expected="one size",
                got=", ".join(sorted(map(str, shapes))) or "no value",
            )
        return place_batch(apply_steps(binding.steps, np.stack(items)), binding.batch_axis)

    def count_items(self, arrays: Mapping[str, Array]) -> int:
        """The number of items in the graph's inputs; 1 if no input has a batch axis."""
        for name, axis in self.axes.items():
            if axis is not None:
                return int(arrays[name].shape[axis])
        return 1


class TypedOutputs:
    """Encodes the graph's outputs as the values of output fields."""

    def __init__(
        self, fields: Sequence[Field], bindings: Sequence[Binding], others: Sequence[Binding] = ()
    ) -> None:
        """No field shows the tensors of `others`."""
        self._pairs = [*zip(fields, bindings, strict=True)]
        self.axes = {each.tensor: each.batch_axis for each in (*bindings, *others)}

    def encode(self, outputs: Mapping[str, Array], index: int = 0) -> dict[str, object]:
        """Item `index` of the outputs as JSON values, by field name."""
        return {
            field.name: self._encode(field, _take(outputs, binding, index), outputs, index)
            for field, binding in self._pairs
        }

    def encode_small(self, outputs: Mapping[str, Array]) -> dict[str, object]:
        """Like `encode`, but pictures, and tensors of over `LARGE_ARRAY` elements, stay arrays.

        Pictures are uint8 (height, width, channels): who responds encodes them, if at all.
        """
        encoded: dict[str, object] = {}
        for field, binding in self._pairs:
            item = _take(outputs, binding, 0)
            if isinstance(field, Image):
                encoded[field.name] = field.to_pixels(item)
                continue
            large = field.kind == "tensor" and item.size > LARGE_ARRAY
            encoded[field.name] = item if large else self._encode(field, item, outputs, 0)
        return encoded

    def _encode(
        self, field: Field, item: Array, outputs: Mapping[str, Array], index: int
    ) -> object:
        if not isinstance(field, Label) or not field.companion_tensors:
            return field.encode(item)
        companions = {
            tensor: batch_first(outputs[tensor], self.axes[tensor])[index]
            for tensor in field.companion_tensors
        }
        return field.encode(item, companions)

    def read_field(self, name: str, outputs: Mapping[str, Array]) -> Array:
        """The array (batch, ...) of the field `name`, for all items."""
        binding = next(binding for field, binding in self._pairs if field.name == name)
        array = outputs[binding.tensor]
        return apply_steps(binding.steps, batch_first(array, binding.batch_axis))


class TypedAccess:
    """Both sides of a signature."""

    def __init__(self, signature: Signature, read: ReadFile | None = None) -> None:
        """`read` reads the files of the bundle that the signature names."""
        self.signature = signature
        self.inputs = TypedInputs(signature.inputs, signature.input_bindings, read)
        self.outputs = TypedOutputs(
            signature.outputs, signature.output_bindings, signature.other_outputs
        )
        axes = (*self.inputs.axes.values(), *self.outputs.axes.values())
        self.joins = signature.batched and None not in axes
        """Whether requests can run together."""
        self.is_batch_first = self.joins and not any(axes)

    def decode(self, values: Mapping[str, object]) -> Arrays:
        """As `TypedInputs.decode`; a picture to be painted has all its colours, not on white."""
        field, original = self.signature.repainted, self._read_transparent(values)
        if field is not None and original is not None:
            from modelpad.fields.alpha import uncover

            values = {**values, field.name: uncover(original)}
        return self.inputs.decode(values)

    def encode(
        self, values: Mapping[str, object], outputs: Mapping[str, Array]
    ) -> dict[str, object]:
        """One item's outputs as JSON values. `values` are its inputs."""
        field = self.signature.outputs[0]
        if self.signature.repainted is None or not isinstance(field, Image):
            return self.outputs.encode(outputs)
        pixels = cast("NDArray[np.uint8]", self.encode_small(values, outputs)[field.name])
        return {field.name: field.write_url(pixels)}

    def encode_small(
        self, values: Mapping[str, object], outputs: Mapping[str, Array]
    ) -> dict[str, object]:
        """As `TypedOutputs.encode_small`; a painted picture has the alpha of its original."""
        encoded = self.outputs.encode_small(outputs)
        original = self._read_transparent(values)
        if original is not None:
            from modelpad.fields.alpha import add_alpha

            name = self.signature.outputs[0].name
            pixels = cast("NDArray[np.uint8]", encoded[name])
            if pixels.shape[1::-1] == original.size:
                encoded[name] = add_alpha(pixels, original)
        return encoded

    def _read_transparent(self, values: Mapping[str, object]) -> Picture | None:
        """The picture to be painted, if it is transparent somewhere."""
        field = self.signature.repainted
        if field is None or field.name not in values:
            return None
        from modelpad.fields.alpha import read_transparent

        return read_transparent(values[field.name], field=field.name)


def _decode_tensor(group: Sequence[tuple[Field, Binding]], values: Mapping[str, object]) -> Array:
    import numpy as np

    parts = [
        apply_steps(binding.steps, field.decode(values[field.name])[None])
        for field, binding in group
    ]
    axis = group[0][1].batch_axis
    if group[0][1].column is None:
        return place_batch(parts[0], axis)
    return place_batch(np.stack(parts, axis=-1), axis)


def _take(outputs: Mapping[str, Array], binding: Binding, index: int) -> Array:
    array = batch_first(outputs[binding.tensor], binding.batch_axis)
    item: Array = apply_steps(binding.steps, array[index : index + 1])[0]
    return item


def group_by_tensor(
    fields: Sequence[Field], bindings: Sequence[Binding]
) -> dict[str, list[tuple[Field, Binding]]]:
    """The input fields of each tensor, in the order of its columns.

    A tokenizer's tensors have one group, under the first one's name.
    """
    groups: dict[str, list[tuple[Field, Binding]]] = {}
    for field, binding in zip(fields, bindings, strict=True):
        groups.setdefault(binding.tensor, []).append((field, binding))
    for group in groups.values():
        group.sort(key=lambda pair: pair[1].column or 0)
    return groups


def place_batch(array: Array, axis: int | None) -> Array:
    """Moves the batch axis from the front to where the tensor has it, or removes that of one."""
    if axis == 0:
        return array
    if axis is None:
        return array.reshape(array.shape[1:])  # indexing would make a scalar of one number
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(array, 0, axis))


def batch_first(array: Array, axis: int | None) -> Array:
    """The inverse of `place_batch`."""
    if axis == 0:
        return array
    if axis is None:
        return array[None]
    import numpy as np

    return np.moveaxis(array, axis, 0)


def check_fields(values: Mapping[str, object], names: Sequence[str]) -> None:
    """Raises `InvalidInput` unless there is a value for each name, and no other."""
    missing = [name for name in names if name not in values]
    unknown = [name for name in values if name not in names]
    if missing or unknown:
        got = ", ".join(sorted(values)) or "no field"
        problems = [f"There is no field {unknown[0]!r}."] if unknown else []
        problems += [f"The field {missing[0]!r} is missing."] if missing else []
        raise InvalidInput(
            " ".join(problems),
            hint=f"Send: {', '.join(names)}.",
            field=(missing or unknown)[0],
            expected=", ".join(names),
            got=got,
        )
