#!/usr/bin/env python3
"""Dump the schemas of ONNX Runtime's own operators that the IR has classes for, as JSON.

Usage: python scripts/dump_microsoft_schemas.py > ir/ops/microsoft-schemas.json

Needs only the `onnxruntime` package. The form is that of `dump_schemas.py`,
with the domain before the name. ONNX Runtime has one version of each.
"""

import json
import struct
import sys

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

MICROSOFT = """Attention BiasGelu EmbedLayerNormalization FastGelu FusedGemm FusedMatMul Gelu GroupQueryAttention
MatMulNBits MultiHeadAttention QuickGelu RelativePositionBias RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization"""
WANTED = {("com.microsoft", name) for name in MICROSOFT.split()} | {("", "SimplifiedLayerNormalization")}


def varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """The fields of a serialized message: number and value, where a group of bytes is not read further."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            value, at = data[at : at + 4], at + 4
        yield key >> 3, value


def default_of(attribute):
    """The default as a plain JSON value, or None when the schema has none. It is an AttributeProto: f = 2, i = 3, s = 4."""
    found = dict(fields(attribute._default_value))
    if 2 in found:
        return float(f"{struct.unpack('<f', found[2])[0]:.7g}")
    if 3 in found:
        return found[3] - (1 << 64) if found[3] >> 63 else found[3]
    return found[4].decode() if 4 in found else None


def name_of(option):
    return str(option).split(".")[-1].lower()


def parameter(formal):
    return {"name": formal.name, "option": name_of(formal.option), "type": formal.typeStr}


def version_of(schema):
    return {
        "since": schema.since_version,
        "inputs": [parameter(p) for p in schema.inputs],
        "outputs": [parameter(p) for p in schema.outputs],
        "attributes": [
            {"name": name, "type": name_of(a.type), "required": a.required, "default": default_of(a)}
            for name, a in sorted(schema.attributes.items())
        ],
    }


def main():
    def compact(value):
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    found = {(s.domain, s.name): s for s in state.get_all_operator_schema() if (s.domain, s.name) in WANTED}
    if missing := WANTED - found.keys():
        sys.exit(f"onnxruntime {onnxruntime.__version__} has no {sorted(missing)}")
    ops = [
        f'{{"domain":{compact(domain)},"name":{compact(name)},"versions":[\n{compact(version_of(s))}\n]}}'
        for (domain, name), s in sorted(found.items())
    ]
    sys.stdout.write(f'{{"onnxruntime":{compact(onnxruntime.__version__)},"ops":[\n' + ",\n".join(ops) + "\n]}\n")


if __name__ == "__main__":
    main()
