"""A streaming TFLite graph as a PyTorch module: whole sequences at once, and differentiable.

Such a graph computes one frame of a causal convolutional network. What its convolutions need of
the frames before, it keeps in variables:

    y = conv(state ++ x),               state = tail of (state ++ x)
    y = head of (conv^T(x) + state),    state = tail of (conv^T(x) + state)

Over a whole sequence the first is a convolution padded at its start and the second is conv^T, which
adds what overlaps; variables start at zero. All tensors are time-major, [B, T, C], and dimensions
of one that the graph has besides are dropped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecc.errors import CodecUnavailable

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise CodecUnavailable(f"{error}; install the PyPI package ai-edge-litert") from None

DTYPES = {
    schema.TensorType.FLOAT32: "<f4",
    schema.TensorType.INT32: "<i4",
    schema.TensorType.INT8: "<i1",
}
OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}


class GraphError(ValueError):
    """A graph with something in it that is not translated; the message is one line."""


class Convolution(nn.Module):
    """A convolution over time, in groups of channels, without padding.

    Args:
        weight: [outputs, taps, inputs / groups].
        bias: [outputs].
        groups: how many groups of inputs see as many groups of outputs.
        stride: frames from one output to the next.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, groups: int, stride: int) -> None:
        super().__init__()
        self.taps, self.groups, self.stride = weight.shape[1], groups, stride
        matrices = weight.transpose(1, 2).flatten(1).unflatten(0, (groups, -1))
        self.register_buffer("weight", matrices.contiguous(), persistent=False)
        self.register_buffer("bias", bias.unflatten(0, (groups, -1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, (T - taps) // stride + 1, outputs]."""
        windows = x.unfold(1, self.taps, self.stride).unflatten(2, (self.groups, -1)).flatten(3)
        parts = zip(windows.unbind(2), self.weight, self.bias, strict=True)
        return torch.cat([F.linear(part, weight, bias) for part, weight, bias in parts], dim=-1)


class Depthwise(nn.Module):
    """A convolution over time of each channel by itself, without padding.

    Args:
        weight: [taps, channels].
        bias: [channels].
        dilation: frames from one tap to the next.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, channels] -> [B, T - (taps - 1) * dilation, channels]."""
        frames = x.shape[1] - (len(self.weight) - 1) * self.dilation
        y = self.bias
        for i, tap in enumerate(self.weight):
            y = torch.addcmul(y, x[:, i * self.dilation :][:, :frames], tap)
        return y


class Transposed(nn.Module):
    """A transposed convolution over time; what reaches beyond the last frame is cut off.

    Args:
        weight: [outputs, taps, inputs]; the taps are a multiple of the stride.
        bias: [outputs].
        stride: outputs from one frame to the next.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int) -> None:
        super().__init__()
        self.outputs, taps, _ = weight.shape
        self.overlap = taps // stride
        matrix = weight.transpose(0, 1).flatten(0, 1)
        self.register_buffer("weight", matrix.contiguous(), persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T * stride, outputs]."""
        first, *later = F.linear(x, self.weight).chunk(self.overlap, dim=-1)
        for i, part in enumerate(later, start=1):
            first = first + F.pad(part, (0, 0, i, 0))[:, : x.shape[1]]
        return first.unflatten(2, (-1, self.outputs)).flatten(1, 2) + self.bias


class Add(nn.Module):
    """The sum of two tensors."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Join(nn.Module):
    """Channels of several tensors side by side."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=-1)


class Part(nn.Module):
    """One of several equal groups of channels."""

    def __init__(self, index: int, parts: int) -> None:
        super().__init__()
        self.index, self.parts = index, parts

    def forward(self, x: Tensor) -> Tensor:
        return x.chunk(self.parts, dim=-1)[self.index]


class Step(NamedTuple):
    """One layer: which tensors of the graph go into it and which one comes out."""

    layer: nn.Module
    inputs: list[int]
    output: int


class StreamingGraph(nn.Module):
    """The graph of a TFLite file, over sequences: frames [B, T, C] -> frames [B, T', C'].

    Weights are those of the file, dequantized, and no part of the state dict, unless
    `make_trainable` makes parameters of them. Activations that the
    graph holds in 8 bits are clipped to their range but not rounded. Frame t of the output
    depends on no frame of the input after it.

    Raises:
        GraphError: the graph has an operator or an option that is not translated.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        graph = _Graph(path)
        steps = list(graph.steps())
        self.layers = nn.ModuleList(step.layer for step in steps)
        self.wiring = [(step.inputs, step.output) for step in steps]
        self.source, self.result = graph.source, graph.resolve(graph.result)
        last = {i: number for number, (inputs, _) in enumerate(self.wiring) for i in inputs}
        self.spent = [[i for i, at in last.items() if at == n] for n in range(len(steps))]

    def make_trainable(self) -> None:
        """Weights and biases become parameters, which start as those of the file."""
        for layer in self.layers:
            for name, values in list(layer.named_buffers()):
                delattr(layer, name)
                layer.register_parameter(name, nn.Parameter(values))

    def forward(self, x: Tensor) -> Tensor:
        """Frames [B, T, C] -> frames [B, T', C']."""
        values = {self.source: x}
        wired = zip(self.layers, self.wiring, self.spent, strict=True)
        for layer, (inputs, output), spent in wired:
            result = layer(*(values[i] for i in inputs))
            for i in spent:  # at 16 kHz a chunk of each of them is large
                del values[i]
            values[output] = result
        return values[self.result]


class _Graph:
    """Translates the operators of a graph. Tensors are known by their indices in the file."""

    def __init__(self, path: str | Path) -> None:
        model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)
        graph = model.subgraphs[0]  # another one sets the variables to zero
        self.tensors, self.buffers, self.operators = graph.tensors, model.buffers, graph.operators
        self.codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        self.source, self.result = int(graph.inputs[0]), int(graph.outputs[0])
        self.states: dict[int, int] = {}  # frames that a tensor read from a variable has
        self.same: dict[int, int] = {}  # tensors that are, for sequences, another tensor

    def steps(self) -> Iterator[Step]:
        """The layers that lead to the output, in order."""
        # Writing a variable leads nowhere: how states are updated is not looked at.
        needed, operators = {self.result}, []
        for operator in reversed(self.operators):
            outputs = [] if operator.outputs is None else operator.outputs.tolist()
            if needed.intersection(outputs):
                needed.update(operator.inputs.tolist())
                operators.append((operator, operator.inputs.tolist(), outputs))
        for operator, inputs, outputs in reversed(operators):
            name = OPERATORS[self.codes[operator.opcodeIndex]]
            options = operator.builtinOptions
            if getattr(options, "fusedActivationFunction", 0) or not getattr(options, "padding", 1):
                raise GraphError(f"{name} with an activation or with padding is not translated")
            for step in self._translate(name, options, inputs, outputs):
                yield step._replace(inputs=[self.resolve(i) for i in step.inputs])

    def resolve(self, tensor: int) -> int:
        """The tensor that a layer has put out and `tensor` is the same as."""
        while tensor in self.same:
            tensor = self.same[tensor]
        return tensor

    def _translate(
        self, name: str, options: Any, inputs: list[int], outputs: list[int]
    ) -> Iterator[Step]:
        match name:
            case "VAR_HANDLE":
                pass
            case "READ_VARIABLE":
                self.states[outputs[0]] = int(self.tensors[outputs[0]].shape[1])
            case "CONCATENATION" if inputs[0] in self.states:
                before = self.states[inputs[0]]
                if self._is_constant(inputs[1]):  # zeros, to which a transposed one is added
                    self.states[outputs[0]] = before
                else:
                    yield Step(nn.ZeroPad2d((0, 0, before, 0)), inputs[1:], outputs[0])
            case "ADD" if inputs[1] in self.states:
                self.same[outputs[0]] = inputs[0]
            case "STRIDED_SLICE":  # of what a transposed one has put out
                if self._constant(inputs[1]).any():
                    raise GraphError("STRIDED_SLICE that is not of the head is not translated")
                self.same[outputs[0]] = inputs[0]
            case "RESHAPE" | "DEQUANTIZE":
                self.same[outputs[0]] = inputs[0]
            case "QUANTIZE":
                yield self._clip(inputs[0], outputs[0])
            case "SPLIT":
                for i, output in enumerate(outputs):
                    yield Step(Part(i, len(outputs)), inputs[1:], output)
            case "TRANSPOSE_CONV":
                # Not clipped: the graph clips what each frame adds, and not the sum.
                weight, bias = self._constant(inputs[1])[:, :, 0], self._constant(inputs[3])
                yield Step(Transposed(weight, bias, options.strideH), inputs[2:3], outputs[0])
            case _:
                layer, values = self._layer(name, options, inputs)
                yield Step(layer, values, outputs[0])
                if self.tensors[outputs[0]].type == schema.TensorType.INT8:
                    yield self._clip(outputs[0], outputs[0])

    def _layer(self, name: str, options: Any, inputs: list[int]) -> tuple[nn.Module, list[int]]:
        match name:
            case "CONV_2D" if options.dilationHFactor == 1:
                weight, bias = self._constant(inputs[1])[:, :, 0], self._constant(inputs[2])
                groups = self.tensors[inputs[0]].shape[-1] // weight.shape[-1]
                return Convolution(weight, bias, groups, options.strideH), inputs[:1]
            case "DEPTHWISE_CONV_2D" if options.strideH == 1:
                weight, bias = self._constant(inputs[1])[0, :, 0], self._constant(inputs[2])
                return Depthwise(weight, bias, options.dilationHFactor), inputs[:1]
            case "LEAKY_RELU":
                return nn.LeakyReLU(options.alpha), inputs
            case "ADD":
                return Add(), inputs
            case "CONCATENATION" if options.axis in (-1, 3):
                return Join(), inputs
        raise GraphError(f"{name} is not translated")

    def _clip(self, source: int, output: int) -> Step:
        """Clip `source` to the range of `output`, which holds it in 8 bits."""
        scale, zero = self._quantization(output)
        low, high = (scale * (np.array([-128, 127]) - zero)).tolist()
        return Step(nn.Hardtanh(low, high), [source], output)

    def _quantization(self, tensor: int) -> tuple[Any, Any]:
        quantization = self.tensors[tensor].quantization
        return quantization.scale, quantization.zeroPoint

    def _is_constant(self, tensor: int) -> bool:
        return self.buffers[self.tensors[tensor].buffer].data is not None

    def _constant(self, tensor: int) -> Tensor:
        """What the file says that `tensor` is, dequantized."""
        about = self.tensors[tensor]
        data = self.buffers[about.buffer].data.tobytes()
        values = np.frombuffer(data, DTYPES[about.type]).reshape(about.shape)
        if about.quantization is not None and about.quantization.scale is not None:
            shape = [1] * values.ndim
            shape[about.quantization.quantizedDimension] = -1
            scale, zero = (part.reshape(shape) for part in self._quantization(tensor))
            values = (values - zero) * scale
        return torch.from_numpy(values.astype(np.float32))
