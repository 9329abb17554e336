"""checker.py MODEL...: onnx.checker with all its checks on every file; prints the complaints as JSON, by file."""

import json
import sys

import onnx

complaints = {}
for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        complaints[path] = str(error)[:400]
print(json.dumps(complaints))
