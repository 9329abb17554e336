#!/usr/bin/env python3
"""Dump the operator schemas of the default ONNX domain as JSON.

Usage: python scripts/dump_schemas.py > ir/ops/onnx-schemas.json

Needs only the `onnx` package. Every version of every operator that is in
force in some opset from 1 to MAX_OPSET is listed, oldest first, without
documentation and without type constraint lists. One line per op version, so
that a regeneration with a newer `onnx` gives a readable diff.
"""

import json
import sys

import numpy as np
import onnx
from onnx import defs, helper

MAX_OPSET = 26


def shortest_f32(value):
    """The shortest decimal that reads back as the same 32-bit float.

    Schema defaults are stored as f32; Python widens them to f64, which would
    print 0.01 as 0.009999999776482582.
    """
    return float(str(np.float32(value)))


def default_of(attribute):
    """The default as a plain JSON value, or None when the schema has none."""
    proto = attribute.default_value
    if proto.type == onnx.AttributeProto.UNDEFINED:
        return None
    value = helper.get_attribute_value(proto)
    if proto.type == onnx.AttributeProto.FLOAT:
        return shortest_f32(value)
    if proto.type == onnx.AttributeProto.FLOATS:
        return [shortest_f32(v) for v in value]
    if proto.type == onnx.AttributeProto.STRING:
        return value.decode()
    if proto.type == onnx.AttributeProto.STRINGS:
        return [v.decode() for v in value]
    if proto.type == onnx.AttributeProto.INT:
        return int(value)
    if proto.type == onnx.AttributeProto.INTS:
        return [int(v) for v in value]
    raise TypeError(f"{attribute.name}: default of type {proto.type} not handled")


def parameter(formal):
    return {"name": formal.name, "option": formal.option.name.lower(), "type": formal.type_str}


def version_of(schema):
    entry = {"since": schema.since_version}
    if schema.deprecated:
        entry["deprecated"] = True
    entry["inputs"] = [parameter(p) for p in schema.inputs]
    entry["outputs"] = [parameter(p) for p in schema.outputs]
    entry["attributes"] = [
        {"name": a.name, "type": a.type.name.lower(), "required": a.required, "default": default_of(a)}
        for _, a in sorted(schema.attributes.items())
    ]
    return entry


def main():
    history = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= MAX_OPSET:
            history.setdefault(schema.name, []).append(schema)

    def compact(value):
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    ops = []
    for name in sorted(history):
        schemas = sorted(history[name], key=lambda s: s.since_version)
        versions = ",\n".join(compact(version_of(s)) for s in schemas)
        ops.append(f'{{"name":{compact(name)},"versions":[\n{versions}\n]}}')
    sys.stdout.write(f'{{"onnx":{compact(onnx.__version__)},"ops":[\n' + ",\n".join(ops) + "\n]}\n")


if __name__ == "__main__":
    main()
