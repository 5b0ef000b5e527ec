"""A mixture as an ONNX graph."""

from __future__ import annotations

import numpy as np

from ..inputs import validate
from ..kernels import contract
from .c_code import held, warn_if_coarse

OPSET = 18
IR_VERSION = 9  # of that opset: newer ones are not read by older runtimes


def to_onnx(mixture, dtype: str):
    """The model; see `Mixture.to_onnx`."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ImportError('to_onnx needs onnx: pip install "gaussmix[onnx]"') from error
    validate.choice("dtype", dtype, ("float64", "float32"))
    real = TensorProto.DOUBLE if dtype == "float64" else TensorProto.FLOAT
    kind, coefficients, means, factors, centre = mixture.kernel_parameters
    shared = kind == contract.FACTOR_SHARED
    if shared:
        whitened = np.einsum("de,ke->kd", factors, means - centre)
        constants = {"centre": centre, "factor": factors.T, "means": whitened[:, None, :]}
        whiten = [("Sub", "X", "centre", "centred"), ("MatMul", "centred", "factor", "z")]
        whiten += [("Sub", "z", "means", "gap")]
    else:
        constants = {"means": means[:, None, :]}
        whiten = [("Sub", "X", "means", "difference")]
        if kind == contract.FACTOR_DIAG:
            constants["factor"] = factors[:, None, :]
            whiten += [("Mul", "difference", "factor", "gap")]
        else:
            constants["factor"] = factors.swapaxes(1, 2)
            whiten += [("MatMul", "difference", "factor", "gap")]  # (K, N, D)
    constants |= {"coefficients": coefficients, "half": np.array(0.5)}
    nodes = [helper.make_node(operator, [a, b], [out]) for operator, a, b, out in whiten]
    for operator, inputs, output, attributes in _STEPS:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
    initializers = [
        numpy_helper.from_array(held(name, value, dtype).copy(order="C"), name)
        for name, value in constants.items()
    ]
    warn_if_coarse(mixture, dtype)
    for name, axis in (("last", 2), ("components", 1)):
        initializers.append(numpy_helper.from_array(np.array([axis], dtype=np.int64), name))
    n_components, n_features = mixture.means.shape
    graph = helper.make_graph(
        nodes,
        "gaussmix",
        [helper.make_tensor_value_info("X", real, ["N", n_features])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("log_density", real, ["N"]),
            helper.make_tensor_value_info("responsibilities", real, ["N", n_components]),
        ],
        initializers,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        graph, producer_name="gaussmix", opset_imports=[opset], ir_version=IR_VERSION
    )


# From the differences in standard deviations (K, N, D) to what is asked for.
_STEPS = [
    ("Mul", ["gap", "gap"], "squares", {}),
    ("ReduceSum", ["squares", "last"], "distances", {"keepdims": 0}),
    ("Transpose", ["distances"], "of_rows", {"perm": [1, 0]}),
    ("Mul", ["of_rows", "half"], "halves", {}),
    ("Sub", ["coefficients", "halves"], "joint", {}),
    ("ArgMax", ["joint"], "label", {"axis": 1, "keepdims": 0}),
    ("ReduceMax", ["joint", "components"], "most", {"keepdims": 1}),
    ("Sub", ["joint", "most"], "below", {}),
    ("Exp", ["below"], "shares", {}),
    ("ReduceSum", ["shares", "components"], "total", {"keepdims": 1}),
    ("Div", ["shares", "total"], "responsibilities", {}),
    ("Log", ["total"], "log_total", {}),
    ("Add", ["most", "log_total"], "column", {}),
    ("Squeeze", ["column", "components"], "log_density", {}),
]
